"""The rows of a file, and their cells read as text or whole numbers."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice, pairwise
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.template.defaultfilters import pluralize

from products import stock
from products.validators import is_sku, parse_time

DELIMITERS = ",;\t|"

HEADER_SEARCH_ROWS = 20
"""How many filled rows at the start of a file are searched for the names of the columns."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
# Not three zeros behind up to three digits: 1.000 may be a thousand.
_WITHOUT_FRACTION = re.compile(
    r"(-?[0-9]{1,18})[.,](?:0{1,2}|0{4,18})|(-?(?:0|[0-9]{4,18}))[.,]000"
)
_THOUSANDS = re.compile("-?[0-9]{1,3}(?:[.,'\u2019 \u00a0\u2009\u202f][0-9]{3})+(?:[.,][0-9]*)?")
_FRACTION = re.compile(r"-?[0-9]*[.,][0-9]+")
# Spreadsheets also run a formula behind a full-width sign, and behind a line break or a semicolon
# if they split the file at semicolons: then quotation marks within a row protect nothing.
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = rf"'*[{_SIGNS}\t\r\n]"
_INNER_FORMULA = rf"'*[{_SIGNS}]"
_BEFORE_FORMULAS = re.compile(rf"\A(?={_FORMULA})|(?<=[;\r\n])(?={_INNER_FORMULA})")
_MARKS_OF_FORMULAS = re.compile(rf"\A'(?={_FORMULA})|(?<=[;\r\n])'(?={_INNER_FORMULA})")
_FORMULA_OF_TEXT = re.compile(r'="((?:[^"]|"")*)"')
_NO_VALUE = re.compile(
    r"#N/[ABD]!?|#I/T|#NV|#YOK|#HI\u00c1NYZIK|#\u041d/\u0414|#[¡¿]?[^\W\da-z]+(?:/0)?[!?]"
    r"|#GETTING_DATA|Loading\.\.\.|#{2,}|Err:[0-9]{3}"
    r"|NULL|null|[(<\[](?:NULL|null)[)>\]]|\\N|nan|NaN|NaT|<NA>"
)
"""Texts of spreadsheets and databases for an error or a missing value."""

_RULE = re.compile("[-=+:\u2500-\u257f]{2,}")
"""A line between the rows of a printed table."""

_OUTER_BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    # These have no width.
    "\xad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063"
    "\u2064\u2066\u2067\u2068\u2069\ufeff"
)

MAX_DIGITS_OF_TEXT = 15
"""Spreadsheets keep this many digits of a number."""

_BOOLEANS = {"true": True, "false": False}

_TIME = "2026-11-20T18:00:00Z"
_DATE_CELL = (
    "A date cell has no time zone, so a time must be a text: format the column as text, then enter "
    f"a time such as {_TIME}."
)

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


class UnreadableFile(Exception):
    """A file whose rows cannot be read. The message is for the user."""


class InvalidCell(NamedTuple):
    """A cell that is neither text nor a whole number. `detail` says what to do."""

    detail: str
    boolean: bool | None = None
    """The value of a true/false cell."""
    merged_text: str = ""
    """The text of a cell that is merged with the one above."""


class FormattedNumber(NamedTuple):
    """A whole number in a cell that may show other digits, such as 123 shown as 00123."""

    value: int
    number_format: str


Cell = str | int | FormattedNumber | InvalidCell | None


def shown(text: str) -> str:
    """Quote a text for a message. Invisible characters are escaped, and a long text is cut."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


class Row(NamedTuple):
    """A row with its line number and its filled cells by column."""

    line: int
    cells: Mapping[str, Cell]
    problem: str = ""
    others: Mapping[str, Cell] = {}
    """The cells of `Columns.kept`, by the folded name of the column."""

    def text(self, column: str) -> str | None:
        """Return the text of a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None:
            return None
        if isinstance(cell, str):
            text = meaning_of(cell)
            # The first character is looked at first, because it is faster.
            if text[:1] in "#ENLn<([\\" and _NO_VALUE.fullmatch(text):
                raise stock.Invalid(
                    column, f"The cell has {shown(text)} instead of a value. Correct or empty it."
                )
            return text
        if isinstance(cell, int) and len(str(abs(cell))) <= MAX_DIGITS_OF_TEXT:
            return str(cell)
        if isinstance(cell, InvalidCell) and cell.merged_text:
            return cell.merged_text
        raise stock.Invalid(column, _not_text(cell))

    def number(self, column: str) -> int | None:
        """Return the whole number in a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if cell is None or isinstance(cell, int):
            return cell
        if isinstance(cell, FormattedNumber):
            return cell.value
        if isinstance(cell, InvalidCell):
            raise stock.Invalid(column, cell.detail)
        text = meaning_of(cell)
        if _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        text = text.removeprefix("'")
        if _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        if match := _WITHOUT_FRACTION.fullmatch(text):
            return int(match[1] or match[2])
        raise stock.Invalid(column, _not_a_number(cell, text))

    def time(self, column: str) -> datetime | None:
        """Return the time in a cell, None if it is empty. Raises `stock.Invalid`."""
        cell = self.cells.get(column)
        if isinstance(cell, int | FormattedNumber | InvalidCell):
            detail = cell.detail if isinstance(cell, InvalidCell) else "The cell holds a number."
            raise stock.Invalid(column, f"{detail} {_DATE_CELL}")
        text = self.text(column)
        if text is None or not text.strip():
            return None
        text = text.strip().removeprefix("'")
        try:
            return parse_time(text)
        except ValidationError as error:
            raise stock.Invalid(column, _not_a_time(text)) from error

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
                column, f"{shown(text)} is neither true nor false. Write true or false."
            )
        return value


def _not_a_time(text: str) -> str:
    with suppress(ValueError):
        if datetime.fromisoformat(text).tzinfo is None:
            return f"{shown(text)} has no UTC offset. Write a time such as {_TIME}."
    return f"{shown(text)} is not a time. Write it with its UTC offset, such as {_TIME}."


def _not_text(cell: int | FormattedNumber | InvalidCell) -> str:
    if isinstance(cell, InvalidCell):
        return cell.detail
    if isinstance(cell, FormattedNumber):
        return (
            f"The cell holds the number {cell.value} and shows it in the format "
            f"{shown(cell.number_format)}. This value must be a text: format the column as text, "
            "then enter the value again."
        )
    return (
        f"The cell holds the number {cell}. Spreadsheets keep only {MAX_DIGITS_OF_TEXT} digits of "
        "a number, so this value must be a text: format the column as text, then enter the value "
        "again."
    )


def _not_a_number(cell: str, text: str) -> str:
    if _THOUSANDS.fullmatch(text):
        return (
            f"{shown(cell)} may be a number with thousands or with a fraction. Write digits only, "
            "such as 1000."
        )
    if _FRACTION.fullmatch(text):
        return f"{shown(cell)} has a fraction. Units are whole numbers."
    return f"{shown(cell)} is not a whole number. Write digits only, such as 1000."


def escape_formula(text: str) -> str:
    """Put an apostrophe before each part of a text that a spreadsheet would run as a formula."""
    return _BEFORE_FORMULAS.sub("'", text)


def meaning_of(text: str) -> str:
    """Undo `escape_formula`, and return the text in a formula such as ="00123"."""
    if text.startswith("=") and (match := _FORMULA_OF_TEXT.fullmatch(text)):
        return match[1].replace('""', '"')
    return _MARKS_OF_FORMULAS.sub("", text) if "'" in text else text


def _bare_sku(text: str, *, upper_case: bool) -> str:
    """Return a SKU without outer blanks and without the marks that make it a text.

    `upper_case` writes it in capitals, if it is a SKU then.
    """
    text = meaning_of(text.strip(_OUTER_BLANKS).removeprefix("'"))
    text = text.strip(_OUTER_BLANKS)
    if upper_case and is_sku(text.upper()) and text.isascii() and not _NO_VALUE.fullmatch(text):
        return text.upper()
    return text


class Columns(NamedTuple):
    """The columns that a file may have. Names are compared without case and outer blanks."""

    known: Collection[str]
    required: Collection[str]
    ignored: Collection[str] = ()
    """Columns that are allowed and not read."""
    renamed: Mapping[str, str] = {}
    """Maps our name of a column to its name in the header. The header must have all these names."""
    allow_others: bool = False
    """Whether any other column is allowed and not read."""
    header_line: int = 0
    """The line of the header. 0 is the first line that is not empty."""
    kept: Sequence[str] = ()
    """Other columns, by which rows are picked. The header must have all of them."""
    upper_case: bool = False
    """Whether SKUs are read in capitals."""

    def ours(self) -> dict[str, str]:
        """Map each name that is read, as the header has it, to our name."""
        # The name of a renamed column cannot also mean another column.
        return {
            **{name: name for name in self.known if name not in self.renamed},
            **{theirs: name for name, theirs in self.renamed.items()},
        }

    def needed(self) -> list[str]:
        """Return the names that the header must have."""
        names = (self.renamed.get(name, name) for name in (*self.required, *self.renamed))
        return list(dict.fromkeys([*names, *self.kept]))

    def found_in(self, header: Sequence[Cell]) -> dict[str, int]:
        """Map our name of each column that is read to its place in a header."""
        places = {folded(name): place for place, name in enumerate(_texts_of(header)) if name}
        ours = self.ours().items()
        return {name: places[folded(theirs)] for theirs, name in ours if folded(theirs) in places}

    def are_in(self, header: Sequence[Cell]) -> bool:
        """Return whether a header has all needed columns."""
        names = set(map(folded, _texts_of(header)))
        return all(folded(name) in names for name in self.needed())


def folded(name: str) -> str:
    """Return the form in which names of columns are compared."""
    if name.isascii():
        return " ".join(name.split()).lower()
    text = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(mark for mark in text if unicodedata.category(mark) != "Cf")
    return " ".join(visible.split())


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
        names = _names_of(header, columns)
    except UnreadableFile as error:
        if whole := _whole_line(header, columns):
            raise UnreadableFile(
                f"Line {header_line} was read as the header, but the whole line is one cell: "
                f"{shown(whole)}. Split the cells into columns in the spreadsheet program (Text to "
                "Columns), then save the file again."
            ) from None
        raise UnreadableFile(
            " ".join([str(error), *_about_header(header_line, header, columns, filled)])
        ) from None
    nameless = [index for index, name in enumerate(names) if name is None]
    named_end = max(at for at, name in enumerate(names, start=1) if name is not None)
    header_names = {form for name in _texts_of(header) for form in (folded(name), name.lower())}
    widths = _Widths(len(names), named_end) if may_shift else None
    kept = _kept_places(header, columns)
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
                sku = cells["sku"] = _bare_sku(sku, upper_case=columns.upper_case)
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


def hash_of(rows: Iterable[Row]) -> str:
    """Return a hash of the cells that are read. CSV and XLSX with the same cells have one hash."""
    digest = hashlib.sha256()
    for row in rows:
        cells = sorted((name, text_of(cell)) for name, cell in row.cells.items())
        digest.update(f"{cells}\n".encode())
    return digest.hexdigest()


def is_filled(cell: Cell) -> bool:
    """Return whether a cell has more than blanks."""
    return not (cell == "" or cell.isspace()) if isinstance(cell, str) else cell is not None


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
    names, again = (" ".join(map(folded, _texts_of(cells))).strip() for cells in (header, values))
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


def _texts_of(header: Sequence[Cell]) -> list[str]:
    """Return the names in a header. A column without a name has an empty one."""
    return [text_of(cell) if is_filled(cell) else "" for cell in header]


def text_of(cell: Cell) -> str:
    """Return the text of a cell to compare it with another text."""
    match cell:
        case None:
            return ""
        case FormattedNumber():
            return str(cell.value)
        case InvalidCell():
            return cell.merged_text or cell.detail
    return meaning_of(str(cell))


def _kept_places(header: Sequence[Cell], columns: Columns) -> list[tuple[str, int]]:
    """Return the folded name and the place of each column that is kept."""
    places = {folded(name): place for place, name in enumerate(_texts_of(header)) if name}
    return [(folded(name), places[folded(name)]) for name in columns.kept]


def _names_of(header: Sequence[Cell], columns: Columns) -> list[str | None]:
    """Return our name of each column: empty if it is not read, None if it has no name."""
    given = _texts_of(header)
    counts = Counter(map(folded, given))
    ours = {folded(theirs): name for theirs, name in columns.ours().items()}
    read = [ours.get(folded(name), "") if name else None for name in given]
    for theirs, name in ((theirs, name) for name, theirs in columns.renamed.items()):
        # An option that names a column exactly means this one, not `sku` beside `SKU`.
        if counts[folded(theirs)] > 1 and given.count(theirs) == 1:
            counts[folded(theirs)] = 1
            read = [
                name if text == theirs else "" if our == name else our
                for text, our in zip(given, read, strict=True)
            ]
    ignored = set(map(folded, (*columns.ignored, *columns.kept)))
    others = [
        name
        for name, our in zip(given, read, strict=True)
        if our == "" and folded(name) not in ignored
    ]
    absent = [theirs for theirs in columns.ours() if not counts[folded(theirs)]]
    missing = [name for name in columns.needed() if not counts[folded(name)]]
    alike = {other: name for other in others for name in absent if _is_alike(other, name)}
    own = [name for name in columns.ours().values() if name not in columns.renamed]
    copies = {other: name for other in others for name in own if _is_copy(other, name)}
    unknown = [] if columns.allow_others else list(dict.fromkeys(others))
    repeated = [
        name for name in dict.fromkeys((*columns.ours(), *columns.kept)) if counts[folded(name)] > 1
    ]
    problems = [
        *_problem("Missing", missing),
        *_problem("Unknown", unknown),
        *_problem("Repeated", repeated),
        *(
            f"The name {shown(other)} is almost {shown(name)}. Correct the name."
            for other, name in alike.items()
        ),
        *(
            f"The column {shown(other)} may be a second {shown(name)}. Delete or rename it."
            for other, name in copies.items()
            if other not in alike
        ),
    ]
    if problems:
        problems.append(f"Columns that are read: {', '.join(columns.ours())}.")
        if unknown:
            problems.append("Rename or delete unknown columns.")
        raise UnreadableFile(" ".join(problems))
    return read


def _whole_line(header: Sequence[Cell], columns: Columns) -> str:
    """Return the only cell of a header, if it holds all needed names."""
    names = list(filter(None, _texts_of(header)))
    if len(names) == 1 and any(columns.are_in(names[0].split(each)) for each in DELIMITERS):
        return names[0]
    return ""


def _about_header(
    line: int,
    header: Sequence[Cell],
    columns: Columns,
    following: Iterator[tuple[int, Sequence[Cell]]],
) -> Iterator[str]:
    """Say which line was taken for the header, and what else may be wrong with it."""
    yield f"Line {line} was read as the header."
    if columns.are_in(header):
        return
    if sum(map(bool, _texts_of(header))) == 1:
        yield ("It has one column only. Columns must be separated by commas, semicolons or tabs.")
    for later, values in islice(following, HEADER_SEARCH_ROWS):
        if columns.are_in(values):
            yield f"Line {later} names the columns: set the header line to {later}."
            return


def _is_alike(other: str, name: str) -> bool:
    """Return whether a name is probably meant to be another one."""
    unit = re.compile(r"(?<=\w{6})\s*[(\[].*")
    one, two = (re.sub(r"[\W_]+", "", unit.sub("", folded(text))) for text in (other, name))
    if one == two:
        return True
    short, long = sorted((one, two), key=len)
    at = next((at for at, mark in enumerate(short) if mark != long[at]), len(short))
    if len(two) < 6 or not at or len(long) - len(short) > 1:
        return False
    if len(long) > len(short):
        return short[at:] == long[at + 1 :]
    is_swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return short[at + 1 :] == long[at + 1 :] or is_swapped


def _is_copy(other: str, name: str) -> bool:
    """Return whether a name is ours with a number, as spreadsheets name a second column."""
    return re.fullmatch(re.escape(folded(name)) + r"[\W_]*[0-9]+\W*", folded(other)) is not None


def _problem(kind: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        listed = ", ".join(shown(name) for name in names[:10])
        yield f"{kind} column{pluralize(names)}: {listed}."
