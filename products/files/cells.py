"""The cells of a file, read as text, whole numbers, times or booleans."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from django.core.exceptions import ValidationError

from products import stock
from products.validators import is_sku, parse_time

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


def bare_sku(text: str, *, upper_case: bool) -> str:
    """Return a SKU without outer blanks and without the marks that make it a text.

    `upper_case` writes it in capitals, if it is a SKU then.
    """
    text = meaning_of(text.strip(_OUTER_BLANKS).removeprefix("'"))
    text = text.strip(_OUTER_BLANKS)
    if upper_case and is_sku(text.upper()) and text.isascii() and not _NO_VALUE.fullmatch(text):
        return text.upper()
    return text


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
