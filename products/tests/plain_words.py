"""Find sentences that break the project's rules of English.

`python -m products.tests.plain_words [FILE ...]` prints each finding with its file and line.
`CONTRIBUTING.md` states the rules. `test_plain_words` applies them to the whole project.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAX_WORDS = 35

# Each pattern, and what to write instead.
PHRASES = {
    r"what (is|was|has|had|it|they|its?)\b(?! done)": "name the thing",
    r"who(so)?ever": "name the person: the caller, the user, the operator",
    r"what(so)?ever": "name the thing, or write `any`",
    r"so (many|much|long|often)\b(?! as)": "give the number: `at most N`, `for N seconds`",
    r"(is|are|was|were|be|been) told": "say who reports what",
    r"(?<!each )(?<!instead )(?<!either )(?<!any )(?<!some )(?<!most )(?<!half )(?<!all )"
    r"(?<!out )(?<!copy )(?<!value )of (it|them|theirs)\b": "name the thing",
    r"(is|are|was|were) not had\b|\bbe had\b": "cannot be acquired",
    r"anew": "again",
    r"but for (?!the fact)": "except",
    r"in hand": "in progress, or in stock",
    r"(is|are) to be\b": "must be, or an imperative",
    r"(waits?|takes?|knows?|goes|needs?|asks?) not\b": "does not ...",
    r"there(by|in|of|upon|to)\b|\b(where|here)(by|of|upon)": "start a new sentence",
    r"gone round|given back|taken away|goes by": "use a plain verb",
    r"such as (is|are|has|have)\b": "name the thing",
    r"of what|from what|for what|by what|than what|with what|on what|about what": "name the thing",
    r"nobody|no one\b": "name the subject",
    r"shall": "must, or the present tense",
    r"so is|so are|so do|so does": "repeat the verb",
    r"that which|those which": "name the thing",
    r"at its word": "use a plain verb",
}
_ADVICE = {
    re.compile(rf"\b(?:{pattern})", re.IGNORECASE): advice for pattern, advice in PHRASES.items()
}

# SQL, JSON, HTML and programs in strings.
_CODE = re.compile(r"SELECT|INSERT|UPDATE|WITH|CREATE|import |[{<]")


class Finding(NamedTuple):
    """A sentence that breaks a rule."""

    path: Path
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text!r}: {self.advice}"


class Passage(NamedTuple):
    """A paragraph, a list item, a table cell, a docstring, a comment or a message."""

    line: int
    text: str


def files() -> list[Path]:
    """Return the files that hold English."""
    found = list(ROOT.glob("*.md"))
    for folder in ("docs", "benchmarks", "products", "inventory_project", "clients", ".ci"):
        for suffix in ("md", "py", "html"):
            found += (ROOT / folder).rglob(f"*.{suffix}")
    generated = {"node_modules", "generated", "staticfiles"}
    # They quote bad sentences, and the help text of a library.
    quoting = {"plain_words.py", "test_plain_words.py", "0001_initial.py"}
    return sorted(
        path for path in found if path.name not in quoting and not generated & set(path.parts)
    )


def findings(path: Path) -> Iterator[Finding]:
    """Yield each phrase and each overlong sentence of a file."""
    for passage in _passages(path):
        text = _without_code(passage.text)
        for pattern, advice in _ADVICE.items():
            for match in pattern.finditer(text):
                start, end = max(match.start() - 30, 0), match.end() + 30
                yield Finding(path, passage.line, " ".join(text[start:end].split()), advice)
        for sentence in re.split(r"(?<=[.!?])[\"')*_]*\s+(?=[A-Z`\"'(*_\[])", text):
            words = len(re.findall(r"[\w'-]+", sentence))
            if words > MAX_WORDS:
                beginning = " ".join(sentence.split()[:8])
                yield Finding(path, passage.line, f"{beginning} ...", f"{words} words: split it")


def _passages(path: Path) -> Iterator[Passage]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _python_passages(text)
    elif path.suffix == ".html":
        yield from _html_passages(text)
    else:
        yield from _markdown_passages(text)


def _python_passages(source: str) -> Iterator[Passage]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            # A blank line ends a sentence.
            for number, paragraph in enumerate(node.value.split("\n\n")):
                if not _CODE.match(paragraph.lstrip()):
                    yield Passage(node.lineno if not number else node.end_lineno or 0, paragraph)
    block: list[str] = []
    start = previous = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != previous + 1 and block:
            yield Passage(start, " ".join(block))
            block = []
        if not block:
            start = token.start[0]
        block.append(token.string.lstrip("#: "))
        previous = token.start[0]
    if block:
        yield Passage(start, " ".join(block))


def _html_passages(source: str) -> Iterator[Passage]:
    source = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", source)
    for number, line in enumerate(source.splitlines(), 1):
        yield Passage(number, re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", " ", line))


def _markdown_passages(source: str) -> Iterator[Passage]:
    source = re.sub(r"(?s)^(```|~~~).*?^\1", _blank, source, flags=re.MULTILINE)
    source = re.sub(r"(?s)<!--.*?-->", _blank, source)
    block: list[str] = []
    start = 0
    for number, line in enumerate([*source.splitlines(), ""], 1):
        stripped = line.strip()
        begins = re.match(r"([-*+]|\d+\.)\s|#", stripped)
        if block and (not stripped or begins or stripped.startswith("|")):
            yield Passage(start, " ".join(block))
            block = []
        if stripped.startswith("|"):
            yield from (Passage(number, cell) for cell in re.split(r"(?<!\\)\|", stripped))
        elif stripped.startswith("#"):
            # A heading may be the reader's question.
            if not stripped.endswith("?"):
                yield Passage(number, stripped)
        elif stripped:
            if not block:
                start = number
            block.append(re.sub(r"^([-*+>]|\d+\.)\s+", "", stripped))


def _blank(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


def _without_code(text: str) -> str:
    text = re.sub(r"`[^`]*`", "`code`", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def main() -> None:
    paths = [Path(name).resolve() for name in sys.argv[1:]] or files()
    found = [finding for path in paths for finding in findings(path)]
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
