"""Read CSV files of any length, row by row."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from products.files.rows import UnreadableFile

MAX_LINE_BYTES = 1024 * 1024

_DELIMITERS = ",;\t"


def csv_lines(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a CSV file with the number of its first line, from the beginning.

    The file is UTF-8, with or without a byte order mark. The delimiter is the comma, semicolon or
    tab, whichever is most frequent in the header. Raises `UnreadableFile`.
    """
    texts = _texts(file)
    header = next((text for text in texts if text.strip("\r\n")), "")
    delimiter = max(_DELIMITERS, key=header.count)
    file.seek(0)
    reader = csv.reader(_texts(file), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableFile(
            f"Line {line} is not valid CSV: {error}. Check the quotation marks from this line on."
        ) from error


def _texts(file: BinaryIO) -> Iterator[str]:
    number = 0
    while content := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(content) == MAX_LINE_BYTES:
            raise UnreadableFile(
                f"Line {number} is too long: a line must have fewer than {MAX_LINE_BYTES:,} bytes. "
                "Check that the file is CSV."
            )
        try:
            text = content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableFile(
                f"Line {number} is not UTF-8 text. Save the file as “CSV UTF-8” and try again."
            ) from error
        # A lone carriage return also ends a line.
        yield from io.StringIO(text, newline="") if "\r" in text[:-2] else [text]
