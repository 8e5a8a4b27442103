"""Pick the rows of a file that are read, and find its columns with a profile."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from products import stock
from products.files.cells import Cell, Row, UnreadableFile, is_filled, shown, text_of
from products.files.columns import Columns, folded
from products.files.lines import WITHOUT_SKU

OTHER_ROWS = "other rows"
OTHER_LOCATIONS = "other locations"

ReadLines = Callable[[Columns], Iterable[tuple[int, Sequence[Cell]]]]
"""Reads the lines of a file from the beginning, with their numbers."""

Check = Callable[[Row], str]
"""Returns why a row is passed over. Empty if it is read."""


class InvalidChoice(UnreadableFile):
    """A choice that does not fit the file."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        """The field of the form."""


class Choice(NamedTuple):
    """How the columns of a file are found, and which of its rows are read."""

    profile: str = ""
    location: str = ""
    where: Sequence[str] = ()
    """Conditions such as `Type=simple`."""
    adds_up: bool = False
    """Whether the rows of all locations are read if no location is chosen."""

    @property
    def reason(self) -> str:
        """The reason of changes that have no other one."""
        return f"{self.profile} import" if self.profile else ""

    def conditions(self) -> dict[str, set[str]]:
        """Map each column with a condition to its allowed values. Raises `InvalidChoice`."""
        columns: dict[str, str] = {}
        found: dict[str, set[str]] = {}
        for text in self.where:
            column, equals, value = text.partition("=")
            if not equals or not column.strip():
                detail = f"{shown(text)} is not a condition. Write COLUMN=VALUE (--where)."
                raise InvalidChoice("where", detail)
            column = columns.setdefault(folded(column), column.strip())
            found.setdefault(column, set()).add(folded(value))
        return found


@dataclasses.dataclass
class Selection:
    """The columns of a file, and which of its rows are read."""

    columns: Columns
    checks: Sequence[Check] = ()
    rewrites: Sequence[Callable[[Row], Row]] = ()
    """Return a row as it is read."""
    notes: Sequence[str] = ()
    """What the user should know."""

    def pick(self, row: Row) -> Row | str:
        """Return the row as it is read, or why it is passed over. Call it for all rows in order.

        A row with a problem is always returned, because its cells may be in wrong columns.
        """
        for rewrite in self.rewrites:
            row = rewrite(row)
        if not row.problem:
            for check in self.checks:
                if reason := check(row):
                    return reason
        return row._replace(others={}) if row.others else row


def where(conditions: Mapping[str, set[str]]) -> Check:
    """Pass over rows in which a column has none of its values."""

    def check(row: Row) -> str:
        return "" if meets(conditions, row.others) else OTHER_ROWS

    return check


def meets(conditions: Mapping[str, set[str]], cells: Mapping[str, Cell]) -> bool:
    """Return whether the cells, by folded column, meet all conditions."""
    return all(
        folded(text_of(cells.get(folded(column)))) in values
        for column, values in conditions.items()
    )


def at_location(column: str, location: str) -> Check:
    """Pass over the rows of other locations."""
    column, key = folded(column), location_key(location)

    def check(row: Row) -> str:
        return "" if location_key(text_of(row.others.get(column))) == key else OTHER_LOCATIONS

    return check


def location_key(name: str) -> str:
    """Return the form in which names of locations are compared."""
    # Some systems write the blanks of a name as underscores.
    return folded(name.replace("_", " "))


def without(column: str, reasons: Mapping[str, str]) -> Check:
    """Pass over the rows that have one of these values, which may have `*`, in a column."""
    column = folded(column)
    patterns = [(folded(value), reason) for value, reason in reasons.items()]

    def check(row: Row) -> str:
        value = folded(text_of(row.others.get(column)))
        return next((reason for pattern, reason in patterns if fnmatchcase(value, pattern)), "")

    return check


def with_sku(row: Row) -> str:
    """Pass over rows without a SKU."""
    return "" if is_filled(row.cells.get("sku")) else WITHOUT_SKU


def without_words(column: str, words: Mapping[str, str]) -> Check:
    """Pass over the rows that have one of these words in the place of an amount."""
    reasons = {folded(word): reason for word, reason in words.items()}

    def check(row: Row) -> str:
        cell = row.cells.get(column)
        return reasons.get(folded(cell), "") if isinstance(cell, str) else ""

    return check


def empty_words(column: str, words: Mapping[str, str]) -> Callable[[Row], Row]:
    """Read one of these words in the place of an amount as an empty cell."""
    check = without_words(column, words)

    def rewrite(row: Row) -> Row:
        if not check(row):
            return row
        return row._replace(
            cells={name: cell for name, cell in row.cells.items() if name != column}
        )

    return rewrite


class FullNames:
    """Add the options of a variant to its name. The first row of a product names all its rows."""

    def __init__(self, handle: str, options: Iterable[str], plain: Iterable[str]) -> None:
        self._handle = folded(handle)
        self._options = list(map(folded, options))
        self._plain = {"", *map(folded, plain)}
        self._last = "", ""
        """The handle and the name of the last row with a name."""

    def __call__(self, row: Row) -> Row:
        handle = folded(text_of(row.others.get(self._handle)))
        try:
            name = (row.text("name") or "").strip()
        except stock.Invalid:
            return row
        if name:
            self._last = handle, name
        elif handle and handle == self._last[0]:
            name = self._last[1]
        else:
            return row
        options = [text_of(row.others.get(option)).strip() for option in self._options]
        parts = [name, *(option for option in options if folded(option) not in self._plain)]
        return row._replace(cells={**row.cells, "name": " / ".join(parts)})
