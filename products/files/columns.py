"""The columns that a file may have, and the names in its header."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from django.template.defaultfilters import pluralize

from products.files.cells import Cell, UnreadableFile, is_filled, shown, text_of

DELIMITERS = ",;\t|"

HEADER_SEARCH_ROWS = 20
"""How many filled rows at the start of a file are searched for the names of the columns."""


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
        places = {folded(name): place for place, name in enumerate(texts_of(header)) if name}
        ours = self.ours().items()
        return {name: places[folded(theirs)] for theirs, name in ours if folded(theirs) in places}

    def are_in(self, header: Sequence[Cell]) -> bool:
        """Return whether a header has all needed columns."""
        names = set(map(folded, texts_of(header)))
        return all(folded(name) in names for name in self.needed())


def folded(name: str) -> str:
    """Return the form in which names of columns are compared."""
    if name.isascii():
        return " ".join(name.split()).lower()
    text = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(mark for mark in text if unicodedata.category(mark) != "Cf")
    return " ".join(visible.split())


def texts_of(header: Sequence[Cell]) -> list[str]:
    """Return the names in a header. A column without a name has an empty one."""
    return [text_of(cell) if is_filled(cell) else "" for cell in header]


def kept_places(header: Sequence[Cell], columns: Columns) -> list[tuple[str, int]]:
    """Return the folded name and the place of each column that is kept."""
    places = {folded(name): place for place, name in enumerate(texts_of(header)) if name}
    return [(folded(name), places[folded(name)]) for name in columns.kept]


def names_of(header: Sequence[Cell], columns: Columns) -> list[str | None]:
    """Return our name of each column: empty if it is not read, None if it has no name."""
    given = texts_of(header)
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


def whole_line(header: Sequence[Cell], columns: Columns) -> str:
    """Return the only cell of a header, if it holds all needed names."""
    names = list(filter(None, texts_of(header)))
    if len(names) == 1 and any(columns.are_in(names[0].split(each)) for each in DELIMITERS):
        return names[0]
    return ""


def about_header(
    line: int,
    header: Sequence[Cell],
    columns: Columns,
    following: Iterator[tuple[int, Sequence[Cell]]],
) -> Iterator[str]:
    """Say which line was taken for the header, and what else may be wrong with it."""
    yield f"Line {line} was read as the header."
    if columns.are_in(header):
        return
    if sum(map(bool, texts_of(header))) == 1:
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
