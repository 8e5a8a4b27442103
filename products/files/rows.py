"""The rows of a file, and their cells read as text or whole numbers."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from django.template.defaultfilters import pluralize

from products import stock

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")

_BOOLEANS = {"true": True, "false": False}

NO_ROWS = "The file has no rows below the header. Add at least one row."

_NAMELESS = (
    "A column without a name has a value. Name the column in the header, or empty the cell. In "
    "CSV, put a value that contains the separator in quotation marks."
)


class UnreadableFile(Exception):
    """A file whose rows cannot be read. The message is for the user."""


class InvalidCell(NamedTuple):
    """A cell that is neither text nor a whole number. `detail` says what to do."""

    detail: str
    boolean: bool | None = None
    """The value of a true/false cell."""


Cell = str | int | InvalidCell | None


class Row(NamedTuple):
    """A row with its line number and its filled cells by column."""

    line: int
    cells: Mapping[str, Cell]
    problem: str = ""

    def text(self, column: str) -> str | None:
        """Return the text of a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None:
            return None
        if isinstance(cell, InvalidCell):
            raise stock.Invalid(column, cell.detail)
        return unescape_formula(str(cell))

    def number(self, column: str) -> int | None:
        """Return the whole number in a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None or isinstance(cell, int):
            return cell
        if isinstance(cell, InvalidCell):
            raise stock.Invalid(column, cell.detail)
        text = unescape_formula(cell)
        if not _WHOLE_NUMBER.fullmatch(text):
            raise stock.Invalid(
                column, f"{cell[:40]!r} is not a whole number. Write digits only, such as 1000."
            )
        return int(text)

    def boolean(self, column: str) -> bool | None:
        """Return the true or false in a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if isinstance(cell, InvalidCell) and cell.boolean is not None:
            return cell.boolean
        text = self.text(column)
        if text is None or not text.strip():
            return None
        # Spreadsheets write TRUE and FALSE.
        value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            raise stock.Invalid(
                column, f"{text[:40]!r} is neither true nor false. Write true or false."
            )
        return value


def escape_formula(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Undo `escape_formula`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


class Columns(NamedTuple):
    """The columns that a file may have."""

    known: Collection[str]
    required: Collection[str]
    ignored: Collection[str] = ()
    """Columns that are allowed and not read."""
    renamed: Mapping[str, str] = {}
    """Maps our name of a column to its name in the header. The header must have all these names."""
    allow_others: bool = False
    """Whether any other column is allowed and not read."""


def rows_of(lines: Iterable[tuple[int, Sequence[Cell]]], columns: Columns) -> Iterator[Row]:
    """Yield the rows below the header. The header is the first line that is not empty.

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
        is_outside = any(map(_is_filled, beyond))
        yield Row(line, cells, _NAMELESS if is_outside else "")


def _is_filled(cell: Cell) -> bool:
    return cell is not None and cell != ""


def _names_of(header: Sequence[Cell], columns: Columns) -> list[str | None]:
    """Return our name of each column: empty if it is not read, None if it has no name."""
    given = [str(cell) if _is_filled(cell) else None for cell in header]
    counts = Counter(given)
    # The name of a renamed column cannot also mean another column.
    ours = {
        **{name: name for name in columns.known if name not in columns.renamed},
        **{theirs: name for name, theirs in columns.renamed.items()},
    }
    required = dict.fromkeys(
        columns.renamed.get(name, name) for name in (*columns.required, *columns.renamed)
    )
    unknown = [name for name in counts if name and name not in {*ours, *columns.ignored}]
    if columns.allow_others:
        unknown = []
    problems = [
        *_problem("Missing", [name for name in required if name not in counts]),
        *_problem("Unknown", unknown),
        *_problem("Repeated", [name for name in ours if counts[name] > 1]),
    ]
    if problems:
        problems.append(f"The first line must name the columns. Allowed: {', '.join(ours)}.")
        if unknown:
            problems.append("Rename or delete unknown columns.")
        raise UnreadableFile(" ".join(problems))
    return [name and ours.get(name, "") for name in given]


def _problem(kind: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        listed = ", ".join(repr(name[:40]) for name in names[:10])
        yield f"{kind} column{pluralize(names)}: {listed}."
