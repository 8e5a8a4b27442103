"""Read CSV files of any length, row by row."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import BinaryIO, NamedTuple

from products.files.cells import UnreadableFile, is_filled, shown
from products.files.columns import DELIMITERS, HEADER_SEARCH_ROWS, Columns
from products.validators import is_sku

MAX_LINE_BYTES = 1024 * 1024

_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*[\r\n]*', re.IGNORECASE)
_MARKUP = re.compile(rb"<[!?a-zA-Z]")
_JSON = re.compile(rb'(\[\s*)?\{\s*"')
_CTRL_Z = "\x1a"
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_LOOKS_LIKE_A_SKU = re.compile(r"\S*[0-9_./-]\S*")
_BOM = "\ufeff"

NOT_CSV = {
    b"PK\3\4": (
        "The file is an XLSX workbook or a ZIP archive, not CSV. Save it as “CSV UTF-8”, or import "
        "the workbook in the back office."
    ),
    b"\xd0\xcf\x11\xe0": (
        "The file is an old .xls file, or has a password. Save it as .xlsx without a password, "
        "or as CSV."
    ),
    b"\x1f\x8b": "The file is compressed (gzip). Unpack it first.",
    b"%PDF": "The file is a PDF document. Export the table again, as CSV or XLSX.",
    b"{\\rtf": "The file is an RTF document. Export the table again, as CSV or XLSX.",
}
"""Maps the first bytes of other formats to what to do."""


class _Dialect(NamedTuple):
    """The format of a file, and the shape of its header."""

    delimiter: str
    first_line: int = 1
    """2 if the first line is `sep=`."""
    skips_blanks: bool = False
    """Whether a blank follows each delimiter. Then blanks around cells only align columns."""
    header: int = 0
    """The line of the header."""
    width: int = 0
    """The number of cells of the header."""
    sku_at: int | None = None
    upper_case: bool = False
    """Whether SKUs are read in capitals."""


def csv_lines(file: BinaryIO, columns: Columns) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a CSV file with the number of its first line, from the beginning.

    The file is UTF-8 or UTF-16, with or without a byte order mark. A first line `sep=`
    names the delimiter and is not yielded. Otherwise the delimiter is the comma, semicolon, tab or
    vertical bar by which the needed columns are found in the header. Raises `UnreadableFile`.
    """
    _refuse_other_formats(file)
    dialect = _dialect_of(file, columns)
    return _records(file, dialect)


def _refuse_other_formats(file: BinaryIO) -> None:
    file.seek(0)
    start = file.read(512)
    for signature, message in NOT_CSV.items():
        if start.startswith(signature):
            raise UnreadableFile(message)
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if _JSON.match(text):
        raise UnreadableFile("The file is JSON. Export the table again, as CSV.")
    if _MARKUP.match(text):
        raise UnreadableFile(
            "The file is a web page or XML, despite its name. Open it in a spreadsheet "
            "program and save it as XLSX or CSV."
        )


def _dialect_of(file: BinaryIO, columns: Columns) -> _Dialect:
    """Return the dialect in which the needed columns are found in the earliest line."""
    first_line, delimiters = 1, DELIMITERS
    if named := _SEP_LINE.fullmatch(next(_texts(file), "")):
        first_line, delimiters = 2, named[1]
    found: list[tuple[tuple[int, ...], _Dialect]] = []
    for delimiter in delimiters:
        rows = _first_rows(file, delimiter, first_line, columns)
        for row, (number, cells) in enumerate(rows):
            names = columns.found_in(cells)
            has_needed = columns.are_in(cells)
            dialect = _Dialect(
                delimiter,
                first_line,
                skips_blanks=_blank_follows_each_delimiter(cells),
                header=number,
                width=len(cells),
                sku_at=names.get("sku"),
                upper_case=columns.upper_case,
            )
            if has_needed or row == 0:
                place = row if has_needed else HEADER_SEARCH_ROWS
                found.append(((-place, len(names), len(cells)), dialect))
            if has_needed:
                break
    return max(found, key=lambda each: each[0])[1] if found else _Dialect(",", first_line)


def _first_rows(
    file: BinaryIO, delimiter: str, first_line: int, columns: Columns
) -> list[tuple[int, list[str]]]:
    """Return the rows that may be the header, with their numbers."""
    rows: list[tuple[int, list[str]]] = []
    texts = islice(_texts(file), first_line - 1, None)
    # An error is raised again when the rows are read.
    with suppress(UnreadableFile):
        for number, cells in _cells(texts, _Dialect(delimiter, first_line), is_strict=False):
            if number >= columns.header_line and any(map(is_filled, cells)):
                rows.append((number, cells))
                if columns.header_line or len(rows) == HEADER_SEARCH_ROWS:
                    break
    return rows


def _blank_follows_each_delimiter(cells: Sequence[str]) -> bool:
    filled = list(filter(None, cells[1:]))
    return bool(filled) and all(cell.startswith(" ") for cell in filled)


def _records(file: BinaryIO, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    kept: list[str] = []
    texts = _kept(islice(_texts(file), dialect.first_line - 1, None), kept)
    for line, cells in _cells(texts, dialect, is_strict=True):
        if len(kept) > 1:
            _refuse_joined_rows(line, kept, cells, dialect)
        kept.clear()
        yield line, cells


def _kept(texts: Iterable[str], kept: list[str]) -> Iterator[str]:
    """Yield the lines, and keep those of the record that is being read."""
    for text in texts:
        kept.append(text)
        yield text


def _cells(
    texts: Iterable[str], dialect: _Dialect, *, is_strict: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line of each record, and its cells."""
    if dialect.delimiter == "\t":
        for line, text in enumerate(texts, start=dialect.first_line):
            yield line, _tab_cells(line, text, dialect)
        return
    reader = csv.reader(
        texts,
        delimiter=dialect.delimiter,
        skipinitialspace=dialect.skips_blanks,
        strict=is_strict,
    )
    line = dialect.first_line
    try:
        for cells in reader:
            if dialect.skips_blanks:
                cells = [cell.rstrip(" ") for cell in cells]
            yield line, cells
            line = reader.line_num + dialect.first_line
    except csv.Error as error:
        raise UnreadableFile(
            f"Line {line} is not valid CSV: {error}. Check the quotation marks from this line on."
        ) from error


def _tab_cells(line: int, text: str, dialect: _Dialect) -> list[str]:
    """Return the cells of a line. Quotation marks never join lines, nor cells."""
    cells = text.rstrip("\r\n").split("\t")
    if dialect.skips_blanks:
        cells = [cell.strip(" ") for cell in cells]
    if '"' not in text:
        return cells
    if line > dialect.header > 0 and len(cells) < dialect.width and _is_cut(cells[-1]):
        raise UnreadableFile(
            f"Line {line} ends within quotation marks, and has fewer cells than the header. Write "
            "the text of this cell on one line, or save the file as CSV with commas."
        )
    if any(cell.startswith('"') and not _QUOTED.fullmatch(cell) for cell in cells):
        try:
            [joined] = csv.reader([text], delimiter="\t", strict=True)
        except csv.Error:
            joined = cells
        if len(joined) != len(cells):
            raise UnreadableFile(
                f"Line {line} has quotation marks around a tab, which may join two cells. Delete "
                "these quotation marks, or save the file as CSV with commas."
            )
    return [
        match[1].replace('""', '"') if (match := _QUOTED.fullmatch(cell)) else cell
        for cell in cells
    ]


def _is_cut(cell: str) -> bool:
    """Return whether a cell begins with a quotation mark that is not closed."""
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _refuse_joined_rows(
    line: int, texts: Sequence[str], cells: Sequence[str], dialect: _Dialect
) -> None:
    """Refuse a record of several lines if its lines could also be rows of their own.

    Such lines are joined by a stray quotation mark. A text of several lines is cut elsewhere.
    """
    first_width = len(_cells_of_line(texts[0], dialect.delimiter))
    # A header that swallowed a row has the cells of both.
    is_header = line == dialect.header
    width = first_width if is_header else min(dialect.width or len(cells), len(cells))
    if first_width < width:
        return
    for number, text in enumerate(texts[1:], start=line + 1):
        own = _cells_of_line(text, dialect.delimiter)
        if len(own) < width:
            continue
        if dialect.sku_at is not None and dialect.sku_at < len(own):
            sku = own[dialect.sku_at].strip().strip('"')
            sku = sku.upper() if dialect.upper_case else sku
            if not is_sku(sku) and not _LOOKS_LIKE_A_SKU.fullmatch(sku):
                continue
        raise UnreadableFile(
            f"A quotation mark on line {line} joins it to line {number}, which looks like a row of "
            f"its own: {shown(text.rstrip())}. Delete the stray quotation mark, or write the text "
            "of this cell on one line."
        )


def _cells_of_line(text: str, delimiter: str) -> list[str]:
    """Split a line at its delimiters, except in quotation marks that close before a delimiter."""
    at = re.escape(delimiter)
    pattern = rf'("(?:[^"]|"")*"(?={at}|$)|[^{at}]*)(?:{at}|$)'
    text = text.rstrip("\r\n")
    cells: list[str] = re.findall(pattern, text)
    # The pattern also matches the empty text behind the last cell.
    return cells if not text or text.endswith(delimiter) else cells[:-1]


def _texts(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file from the beginning. Ctrl-Z ends the file, as in DOS."""
    utf16 = _utf16_of(file)
    decoded = _utf16(file, utf16) if utf16 else _utf8(file)
    for number, text in enumerate(decoded, start=1):
        if _CTRL_Z in text:
            text, _, after = text.partition(_CTRL_Z)
            if after.strip("\x1a\0\r\n\t ") or next(decoded, "").strip("\x1a\0\r\n\t "):
                raise UnreadableFile(
                    f"Line {number} has the character Ctrl-Z (0x1A), which ends a file, but more "
                    "text follows. Delete the character."
                )
            if text:
                yield text
            return
        # A lone carriage return also ends a line.
        if "\r" in text and "\r" in text[:-2]:
            yield from io.StringIO(text, newline="")
        else:
            yield text


def _utf16_of(file: BinaryIO) -> str:
    """Return the name of the UTF-16 encoding of a file, empty if it has another encoding."""
    file.seek(0)
    start = file.read(2)
    file.seek(0)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    # Without a mark, the NUL of the first ASCII character shows the order of the bytes.
    match [byte > 0 for byte in start]:
        case [True, False]:
            return "utf-16-le"
        case [False, True]:
            return "utf-16-be"
    return ""


def _utf8(file: BinaryIO) -> Iterator[str]:
    number = 0
    while content := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(content) == MAX_LINE_BYTES:
            raise _too_long(number)
        try:
            # Files that are joined have a mark in the middle, too.
            yield content.decode().lstrip(_BOM)
        except UnicodeDecodeError as error:
            raise UnreadableFile(
                f"Line {number} is not UTF-8 text. Save the file as “CSV UTF-8” and try again."
            ) from error


def _utf16(file: BinaryIO, encoding: str) -> Iterator[str]:
    texts = io.TextIOWrapper(file, encoding, newline="")
    number = 1
    try:
        while text := texts.readline(MAX_LINE_BYTES):
            if len(text) == MAX_LINE_BYTES:
                raise _too_long(number)
            yield text.lstrip(_BOM)
            number += 1
    except UnicodeError as error:
        raise UnreadableFile(
            f"Line {number} is not UTF-16 text. Save the file as “CSV UTF-8” and try again."
        ) from error
    finally:
        texts.detach()


def _too_long(number: int) -> UnreadableFile:
    return UnreadableFile(
        f"Line {number} is too long: a line must have fewer than {MAX_LINE_BYTES:,} bytes. "
        "Check that the file is CSV."
    )
