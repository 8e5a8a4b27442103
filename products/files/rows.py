"""The rows of a file below its header."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from products.files.cells import Cell, Row, UnreadableFile, bare_sku, is_filled, shown
from products.files.columns import (
    DELIMITERS,
    Columns,
    about_header,
    folded,
    kept_places,
    names_of,
    texts_of,
    whole_line,
)
from products.validators import is_sku

_RULE = re.compile("[-=+:\u2500-\u257f]{2,}")
"""A line between the rows of a printed table."""

NO_ROWS = "The file has no rows below the header. Add at least one row."

_NAMELESS = (
    "A column without a name has a value. Name the column in the header, or empty the cell. In "
    "CSV, put a value that contains the separator in quotation marks."
)

_TOO_WIDE = (
    "The row has more cells than the header, unlike other rows. Put a value that contains the "
    "separator in quotation marks, or delete the separator at the end."
)

_TOO_SHORT = (
    "The row has fewer cells than the header, unlike the rows around it. Add the missing cells, or "
    "a separator for each."
)

_ONE_CELL = (
    "The whole row is in one cell. Delete the quotation marks around the row, or split the cell "
    "into columns in the spreadsheet program."
)


def rows_of(
    lines: Iterable[tuple[int, Sequence[Cell]]], columns: Columns, *, may_shift: bool = True
) -> Iterator[Row]:
    """Yield the rows below the header. The header is the first line that is not empty.

    Rows that repeat the header, and rows of dashes, are skipped. `may_shift` says whether a
    separator can be a part of a value, and so shift the cells behind it. Raises `UnreadableFile`.
    """
    filled = (
        (line, values)
        for line, values in lines
        if any(map(is_filled, values)) and line >= columns.header_line
    )
    header_line, header = next(filled, (columns.header_line or 1, []))
    try:
        names = names_of(header, columns)
    except UnreadableFile as error:
        if whole := whole_line(header, columns):
            raise UnreadableFile(
                f"Line {header_line} was read as the header, but the whole line is one cell: "
                f"{shown(whole)}. Split the cells into columns in the spreadsheet program (Text to "
                "Columns), then save the file again."
            ) from None
        raise UnreadableFile(
            " ".join([str(error), *about_header(header_line, header, columns, filled)])
        ) from None
    nameless = [index for index, name in enumerate(names) if name is None]
    named_end = max(at for at, name in enumerate(names, start=1) if name is not None)
    header_names = {form for name in texts_of(header) for form in (folded(name), name.lower())}
    widths = _Widths(len(names), named_end) if may_shift else None
    kept = kept_places(header, columns)
    for line, values in filled:
        cells = {
            name: value
            for name, value in zip(names, values, strict=False)
            if name and (value or value == 0) and not str(value).isspace()
        }
        if isinstance(sku := cells.get("sku"), str):
            if columns.upper_case or not is_sku(sku):
                if _is_rule(values):
                    continue
                sku = cells["sku"] = bare_sku(sku, upper_case=columns.upper_case)
            if sku.lower() in header_names and _is_header(line, values, header, columns):
                continue
        elif _is_rule(values):
            continue
        problem = widths.problem_of(line, values) if widths else ""
        if nameless and not problem:
            problem = _problem_of_nameless(values, nameless, columns)
        if len(values) > named_end and not problem and (may_shift or not columns.allow_others):
            # A separator in a value may have moved the last cell here.
            problem = _NAMELESS if any(map(is_filled, values[named_end:])) else ""
        if len(cells) == 1 < len(names) and _is_whole_row(cells.get("sku"), values):
            problem = _ONE_CELL
        others = {name: values[at] for name, at in kept if at < len(values)} if kept else {}
        yield Row(line, cells, problem, others)
    if widths:
        widths.end()


class _Widths:
    """The numbers of cells of the rows, to find rows with a separator too many or too few."""

    def __init__(self, width: int, named_end: int) -> None:
        self._width, self._named_end = width, named_end
        self._has_exact_row = False
        self._pads = False
        """Whether a row of the full width has nothing in the last column with a name."""
        self._wide = 0
        """The first row that is wider than the header."""
        self._short: list[int] = []
        """The short rows since the last row of the full width."""
        self._lone_short = 0
        """The first short row between two rows of the full width."""

    def problem_of(self, line: int, values: Sequence[Cell]) -> str:
        """Return the problem of a row, if any. Raises `UnreadableFile` if an earlier one has one.

        All rows may end with a separator, and Excel leaves out the last separators of 16 rows.
        """
        if len(values) == self._width:
            self._has_exact_row = True
            self._pads = self._pads or not is_filled(values[self._named_end - 1])
            if self._short or self._wide or self._lone_short:
                self.end()
        elif len(values) < self._width:
            if len(values) < self._named_end and sum(map(is_filled, values)) > 1:
                self._short.append(line)
        elif any(map(is_filled, values[self._width :])):
            return _NAMELESS
        elif self._has_exact_row:
            return _TOO_WIDE
        else:
            self._wide = self._wide or line
            return _problem_of_neighbours(values)
        return ""

    def end(self) -> None:
        """End a run of short rows. Raises `UnreadableFile` if a row has another width than most."""
        if self._wide and self._has_exact_row:
            raise UnreadableFile(f"Line {self._wide}: {_TOO_WIDE}")
        if len(self._short) == 1:
            self._lone_short = self._lone_short or self._short[0]
        self._short.clear()
        if self._lone_short and self._pads:
            raise UnreadableFile(f"Line {self._lone_short}: {_TOO_SHORT}")


def _is_whole_row(sku: Cell, values: Sequence[Cell]) -> bool:
    """Return whether a row has only one cell, which holds the cells of a row."""
    is_joined = isinstance(sku, str) and any(delimiter in sku for delimiter in DELIMITERS)
    return is_joined and sum(map(is_filled, values)) == 1


def _is_rule(values: Sequence[Cell]) -> bool:
    """Return whether a row has only dashes, which separate the rows of a printed table."""
    filled = filter(is_filled, values)
    return all(isinstance(cell, str) and _RULE.fullmatch(cell.strip()) for cell in filled)


def _is_header(line: int, values: Sequence[Cell], header: Sequence[Cell], columns: Columns) -> bool:
    """Return whether a row repeats the header. Raises `UnreadableFile` if it is another header."""
    found = columns.found_in(values)
    if "sku" not in found or len(found) < min(2, sum(map(is_filled, values))):
        return False
    names, again = (" ".join(map(folded, texts_of(cells))).strip() for cells in (header, values))
    if names != again:
        raise UnreadableFile(
            f"Line {line} names the columns again, but not as the header does. Save the rows from "
            "this line on as a file of their own."
        )
    return True


def _problem_of_neighbours(values: Sequence[Cell]) -> str:
    """Return the problem of a row in which a separator may have split a number."""
    for before, after in pairwise(map(str, values)):
        if re.fullmatch("-?[0-9]+", before) and re.fullmatch("[0-9]{1,3}", after):
            return (
                f"{shown(before)} and {shown(after)} may be one number, since the row has more "
                "cells than the header. Put numbers with a separator in quotation marks, or delete "
                "the separators at the end of rows."
            )
    return ""


def _problem_of_nameless(values: Sequence[Cell], nameless: Sequence[int], columns: Columns) -> str:
    for at in nameless:
        if at < len(values) and is_filled(values[at]):
            if not columns.allow_others:
                return _NAMELESS
            # With ignored columns, the end of an unquoted 1,000 must not be lost.
            before, after = str(values[at - 1]) if at else "", str(values[at])
            if re.fullmatch("-?[0-9]{1,3}", before) and re.fullmatch("[0-9]{3}", after):
                return (
                    f"{shown(before)} and {shown(after)}, in the column without a name, may be one "
                    "number. Write numbers in digits only, or name the column."
                )
    return ""
