"""The rows of a file: cells that mean one thing or are refused."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from products import stock

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


class UnreadableFile(Exception):
    """A file of which not even the rows can be told; says why, to the person who sent it."""


class Faulty(NamedTuple):
    """A cell that is neither a text nor a whole number."""

    detail: str


Cell = str | int | Faulty | None


class Row(NamedTuple):
    """A row that is not empty: its line in the file, and its cells by column but the empty ones."""

    line: int
    cells: Mapping[str, Cell]
    fault: str = ""

    def text(self, column: str) -> str | None:
        """Return the text of a cell, none for an empty one. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None:
            return None
        if isinstance(cell, Faulty):
            raise stock.Invalid(column, cell.detail)
        return unescape_formula(str(cell))

    def number(self, column: str) -> int | None:
        """Return the whole number of a cell, none for an empty one. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None or isinstance(cell, int):
            return cell
        if isinstance(cell, Faulty):
            raise stock.Invalid(column, cell.detail)
        text = unescape_formula(cell)
        if not _WHOLE_NUMBER.fullmatch(text):
            raise stock.Invalid(
                column, f"A whole number is required, in digits alone: not {cell[:40]!r}."
            )
        return int(text)


def escape_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Undo `escape_formula`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


class Columns(NamedTuple):
    """The columns that a table may have, and those of them that it must have.

    `named` tells which of them the header calls otherwise; it must have these, too. The cells of
    those that are `ignored`, or of any others where `others` may be there, are not read.
    """

    known: Collection[str]
    required: Collection[str]
    ignored: Collection[str] = ()
    named: Mapping[str, str] = {}
    others: bool = False


def rows_of(lines: Iterable[tuple[int, Sequence[Cell]]], columns: Columns) -> Iterator[Row]:
    """Yield the rows below the header, which is the first line that is not empty.

    Raises `UnreadableFile`.
    """
    filled = ((line, values) for line, values in lines if any(map(_is_filled, values)))
    _, header = next(filled, (0, []))
    names = _names_of(header, columns)
    nameless = [index for index, name in enumerate(names) if name is None]
    for line, values in filled:
        cells = {
            name: value
            for name, value in zip(names, values, strict=False)
            if name and value != "" and value is not None
        }
        beyond = [*values[len(names) :], *(values[at] for at in nameless if at < len(values))]
        is_faulty = any(map(_is_filled, beyond))
        yield Row(line, cells, "There is a value in a column without a name." * is_faulty)


def _is_filled(cell: Cell) -> bool:
    return cell is not None and cell != ""


def _names_of(header: Sequence[Cell], columns: Columns) -> list[str | None]:
    """Return the name of each column, empty for one that is not read, none for one without."""
    given = [str(cell) if _is_filled(cell) else None for cell in header]
    counts = Counter(given)
    # A name that was given to one column means no other.
    ours = {
        **{name: name for name in columns.known if name not in columns.named},
        **{theirs: name for name, theirs in columns.named.items()},
    }
    required = dict.fromkeys(
        columns.named.get(name, name) for name in (*columns.required, *columns.named)
    )
    unknown = [name for name in counts if name not in ours and name not in columns.ignored]
    complaints = [
        (_quoted(name for name in required if name not in counts), "is missing"),
        (_quoted([] if columns.others else filter(None, unknown)), "is not known"),
        (_quoted(name for name in ours if counts[name] > 1), "is there more than once"),
    ]
    found = [f"Of the columns, {names} {what}." for names, what in complaints if names]
    if found:
        about = f"The first line names the columns; there may be {', '.join(ours)}."
        raise UnreadableFile(" ".join([*found, about]))
    return [name and ours.get(name, "") for name in given]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:40]) for name in list(names)[:10])
