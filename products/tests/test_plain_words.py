"""The project's English follows the rules in CONTRIBUTING.md."""

from pathlib import Path

import pytest

from products.tests.plain_words import ROOT, files, findings


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_breaks_the_rules(path: Path) -> None:
    assert not list(findings(path))


@pytest.mark.parametrize(
    "sentence",
    [
        "Whoever calls it waits.",
        "Returns what is overdue.",
        "The caller is told so.",
        "Report at most so many lines.",
        "The end of it is near.",
        "Nobody waits.",
        "One " + "more " * 35 + "word.",
    ],
)
@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("page.md", "# Title\n\n- {}\n"),
        ("table.md", "| a |\n|---|\n| {} |\n"),
        ("docstring.py", '"""{}"""\n'),
        ("comment.py", "# {}\n"),
        ("message.py", 'message = "{}"\n'),
        ("page.html", "<p>{}</p>\n"),
    ],
)
def test_a_bad_sentence_is_found(tmp_path: Path, name: str, template: str, sentence: str) -> None:
    page = tmp_path / name
    page.write_text(template.format(sentence))

    assert list(findings(page))


def test_code_and_questions_are_not_judged(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# What is locked?\n\nCall `what is it`.\n\n```\nwhoever\n```\n")

    assert not list(findings(page))
