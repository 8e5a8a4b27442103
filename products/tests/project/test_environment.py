"""The file `.env`, as editors and people write it."""

import os
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from inventory_project import environment


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a file `.env`, with an environment of its own."""
    monkeypatch.setattr(os, "environ", {"TAKEN": "environment", "EMPTY": ""})
    for name in ("_from_file", "file_names"):
        monkeypatch.setattr(environment, name, set())
    monkeypatch.setattr(environment, "variables", {})
    return tmp_path / ".env"


def read(file: Path, content: str | bytes, name: str = "NAME") -> str:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    environment.read_file(file)
    return environment.host(name, default="default")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("NAME=a", "a"),
        ("NAME = a \n", "a"),
        ("  NAME=a", "a"),
        ("export NAME=a", "a"),
        ("NAME=a\r\nOTHER=b\r\n", "a"),
        ("NAME=a\nNAME=b", "b"),
        ('NAME="a"', "a"),
        ("NAME='a' # comment", "a"),
        ('NAME = "a # b"  # comment', "a # b"),
        ("NAME=a # comment", "a"),
        ("NAME=a#b", "a#b"),
        ("NAME=$a", "$a"),
        ('NAME="$a${b}"', "$a${b}"),
        ("NAME=", "default"),
        ('NAME=""', "default"),
        ("# NAME=a\n\n", "default"),
        ("", "default"),
    ],
)
def test_a_line_is_read_as_people_write_it(file: Path, content: str, expected: str) -> None:
    assert read(file, content) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_and_utf_16_of_windows_are_read(file: Path, encoding: str) -> None:
    assert read(file, "NAME=th\u00e9\r\nOTHER=b\r\n".encode(encoding)) == "th\u00e9"


def test_the_environment_takes_precedence_even_if_it_is_empty(file: Path) -> None:
    content = "TAKEN=file\nEMPTY=file\nNAME=file\n"

    values = [read(file, content, name) for name in ("TAKEN", "EMPTY", "NAME", "NONE")]

    assert values == ["environment", "default", "file", "default"]
    assert [environment.variables[name].source for name in ("TAKEN", "EMPTY", "NAME", "NONE")] == [
        "environment",
        "default",
        ".env",
        "default",
    ]


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ("A=1\n\n# comment\nsecret words\nB=2", 4),
        ("A=1\nsecret\n", 2),
        ("A: secret", 1),
        ('A=1\nB="secret\nC=3\n', 2),
        ('A=1\nB="secret\nC="3\n', 2),
        ("A='secret' more", 1),
        ("=secret", 1),
        ("A=sec\0ret", 1),
        ("A=1".encode("utf-16-le"), 1),
    ],
)
def test_a_line_that_cannot_be_read_is_named_without_its_text(
    file: Path, content: str | bytes, number: int
) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        read(file, content)

    assert str(refused.value) == (
        f"Line {number} of {file} must look like NAME=value, with both quotes or none."
    )


def test_a_line_in_another_encoding_is_named(file: Path) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"Line 2 of .* is not UTF-8\. Save the file as "
    ):
        read(file, "A=1\nNAME=th\u00e9".encode("latin-1"))


def test_a_file_that_cannot_be_opened_is_named(file: Path) -> None:
    file.mkdir()

    with pytest.raises(ImproperlyConfigured, match=r"\.env cannot be read: Is a directory\."):
        environment.read_file(file)


def test_a_file_is_not_needed(file: Path) -> None:
    environment.read_file(file)

    assert environment.host("NAME", default="default") == "default"
