"""CSV, read row by row in memory that does not grow with the file."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from products.files.rows import UnreadableFile

MAX_LINE_BYTES = 1024 * 1024

_DELIMITERS = ",;\t"


def csv_lines(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file from its start, each with the number that it begins at.

    UTF-8, with or without a byte order mark; comma, semicolon or tab, whichever the header has
    most of. Raises `UnreadableFile`.
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
        raise UnreadableFile(f"The file is not CSV: line {line}: {error}.") from error


def _texts(file: BinaryIO) -> Iterator[str]:
    number = 0
    while content := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(content) == MAX_LINE_BYTES:
            raise UnreadableFile(f"Line {number} has {MAX_LINE_BYTES:,} bytes or more.")
        try:
            text = content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableFile(
                f"Line {number} is not text in UTF-8: save the file as “CSV UTF-8”."
            ) from error
        # Lines may end as on old Macs.
        yield from io.StringIO(text, newline="") if "\r" in text[:-2] else [text]
