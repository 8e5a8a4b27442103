"""Find the columns of a file in the layout of a profile."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import NamedTuple

from django.utils.text import get_text_list

from products.files.cells import Cell, UnreadableFile, is_filled, shown, text_of
from products.files.columns import HEADER_SEARCH_ROWS, Columns, folded
from products.files.exports import REFUSED_COLUMNS
from products.files.profiles import LOCATION, PROFILES, Profile, Wanted
from products.files.selection import (
    Check,
    Choice,
    FullNames,
    InvalidChoice,
    ReadLines,
    Selection,
    at_location,
    empty_words,
    location_key,
    meets,
    where,
    with_sku,
    without,
    without_words,
)

_NAMES_LISTED = 30


class _Column(NamedTuple):
    """A column of a header."""

    place: int
    text: str
    pattern: str = ""
    """Its name in the profile."""
    location: str = ""


class _Header(NamedTuple):
    line: int
    texts: list[str]
    rows: Iterator[Sequence[Cell]]
    """The rows below it."""

    def first(self, names: Sequence[str]) -> _Column | None:
        """Return the column with the first of these names."""
        places = {folded(text): place for place, text in reversed([*enumerate(self.texts)])}
        found = (places.get(folded(name)) for name in names)
        return next((_Column(at, self.texts[at]) for at in found if at is not None), None)


def select(read: ReadLines, columns: Columns, choice: Choice, wanted: Wanted) -> Selection:
    """Return the columns of a file and the rows that are read. Raises `UnreadableFile`.

    With a profile, `columns.renamed` replaces its names of columns, and no other columns are read.
    """
    conditions = choice.conditions()
    if choice.profile:
        profile = PROFILES[choice.profile]
        return _Layout(profile, choice, columns, wanted).selection(read, conditions)
    if choice.location:
        raise InvalidChoice("location", "A location requires a profile. Choose the profile, too.")
    if not conditions:
        return Selection(columns)
    return Selection(columns._replace(kept=list(conditions)), checks=[where(conditions)])


class _Layout:
    """A profile, and the names of columns that replace those of the profile."""

    def __init__(self, profile: Profile, choice: Choice, columns: Columns, wanted: Wanted) -> None:
        self.profile = profile
        self._choice = choice
        self._given = columns.renamed
        self._header_line = columns.header_line
        self._upper_case = columns.upper_case
        self._wanted = wanted
        fields = {ours: field for ours, field in wanted.fields.items() if field != "expected"}
        self.amount = next((ours for ours, field in fields.items() if field == "amount"), "")
        self._names: dict[str, Sequence[str]] = {
            **{ours: getattr(profile, field) for ours, field in fields.items()},
            **{ours: [theirs] for ours, theirs in self._given.items()},
        }

    def selection(self, read: ReadLines, conditions: Mapping[str, set[str]]) -> Selection:
        """Return the columns of a file and the rows that are read."""
        header = self._header(read)
        by_location = header.first(self.profile.location)
        found = {
            ours: self._columns(header.texts, names, has_locations=not by_location)
            for ours, names in self._names.items()
        }
        _refuse_missing("", self._given.values(), header.texts)
        _refuse_missing("where", conditions, header.texts)
        if not all(found[ours] for ours in self._wanted.required):
            raise self._unknown(header.texts)
        survey = _Survey(self, header, by_location, found, conditions)
        location = self._location(by_location, found, survey)
        chosen = {
            ours: column
            for ours, columns in found.items()
            if (column := survey.first_filled(columns, location))
        }
        if expected := self._expected(header.texts, chosen):
            chosen["expected_quantity"] = expected
        renamed = {ours: column.text for ours, column in chosen.items()}
        _refuse_shared(renamed)
        if len(survey.locations) < 2:
            by_location = None
        return self._selection(header, by_location, location, renamed, conditions)

    def _header(self, read: ReadLines) -> _Header:
        """Return the first row that has a SKU and another column that is read."""
        others = [ours for ours in self._names if ours != "sku"]
        for name in self._names["sku"]:
            for header in self._headers(read, name):
                if header.first([name]) and any(
                    self._columns(header.texts, self._names[ours]) for ours in others
                ):
                    return header
        first = next(self._headers(read, self._names["sku"][0]), None)
        raise self._unknown(first.texts if first else [])

    def _headers(self, read: ReadLines, sku: str) -> Iterator[_Header]:
        """Yield the rows that may be the header, if the SKU has this name."""
        known = {sku, *(name for names in self._names.values() for name in names)}
        probe = Columns(known=known, required=[sku], header_line=self._header_line)
        lines = (
            (line, cells)
            for line, cells in read(probe)
            if line >= self._header_line and any(map(is_filled, cells))
        )
        below = (cells for _, cells in lines)
        for line, cells in islice(lines, 1 if self._header_line else HEADER_SEARCH_ROWS):
            yield _Header(line, [text_of(cell).strip() for cell in cells], below)

    def _columns(
        self, texts: Sequence[str], names: Sequence[str], *, has_locations: bool = True
    ) -> list[_Column]:
        """Return the columns with these names, in the order of the names."""
        found = []
        for name in names:
            if LOCATION not in name:
                matching = [
                    _Column(at, text, name)
                    for at, text in enumerate(texts)
                    if text and folded(text) == folded(name)
                ]
                found += matching[:1]
            elif has_locations:
                found += self._columns_of_locations(texts, name)
        return found

    def _columns_of_locations(self, texts: Sequence[str], name: str) -> Iterator[_Column]:
        after = -1
        if name == LOCATION:
            names = [folded(text) for text in texts]
            mark = folded(self.profile.locations_after)
            after = names.index(mark) if mark in names else len(texts)
        pattern = re.compile(re.escape(name).replace(re.escape(LOCATION), "(.+)"), re.IGNORECASE)
        for at, text in enumerate(texts):
            if at > after and text not in REFUSED_COLUMNS and (match := pattern.fullmatch(text)):
                yield _Column(at, text, name, match[1].strip())

    def _location(
        self,
        by_location: _Column | None,
        found: Mapping[str, Sequence[_Column]],
        survey: "_Survey",
    ) -> str:
        """Return the location that is read. Empty if there is none, or if all are added up."""
        in_header = {
            location_key(column.location): column.location
            for columns in found.values()
            for column in columns
            if column.location
        }
        locations = survey.locations if by_location else in_header
        if by_location and not self._choice.location:
            # A location that stocks nothing leaves no choice.
            stocked = {key: name for key, name in locations.items() if key in survey.stocked}
            locations = stocked or locations
        names = get_text_list(list(map(shown, [*locations.values()][:_NAMES_LISTED])), "and")
        given = self._choice.location
        if given:
            if not locations:
                raise InvalidChoice(
                    "location", "The file has no locations. Leave the location empty."
                )
            if location_key(given) not in locations:
                raise InvalidChoice(
                    "location",
                    f"The file has no location {shown(given)}. Choose one of {names} (--location).",
                )
            return locations[location_key(given)]
        if len(locations) < 2:
            return next(iter(locations.values()), "")
        if by_location and self._choice.adds_up:
            return ""
        detail = f"The file has {len(locations)} locations: {names}. Choose one (--location)"
        if by_location and self.amount in self._wanted.required:
            detail += ", or add up the counts of all (--sum-repeated)"
        raise InvalidChoice("location", f"{detail}.")

    def _expected(self, texts: Sequence[str], chosen: Mapping[str, _Column]) -> _Column | None:
        if "expected" not in self._wanted.fields.values() or "expected_quantity" in chosen:
            return None
        amount = chosen[self.amount]
        pattern = self.profile.expected.get(amount.pattern, "")
        columns = self._columns(texts, [pattern]) if pattern else []
        return next((column for column in columns if column.location == amount.location), None)

    def _selection(
        self,
        header: _Header,
        by_location: _Column | None,
        location: str,
        renamed: Mapping[str, str],
        conditions: Mapping[str, set[str]],
    ) -> Selection:
        profile, amount = self.profile, self.amount
        rewrites, kept, names = [], list(conditions), list[str]()
        checks: list[Check] = [where(conditions)] if conditions else []
        if by_location and location:
            kept.append(by_location.text)
            checks.append(at_location(by_location.text, location))
        for pattern, reasons in profile.passed_over.items():
            for text in header.texts:
                if fnmatchcase(folded(text), folded(pattern)):
                    kept.append(text)
                    checks.append(without(text, reasons))
        checks.append(with_sku)
        if amount in self._wanted.required:
            checks.append(without_words(amount, profile.without_amount))
        else:
            rewrites.append(empty_words(amount, profile.without_amount))
        if "name" in renamed and "name" not in self._given:
            handle = header.first(profile.handle)
            options = [found for name in profile.options if (found := header.first([name]))]
            names = [option.text for option in options]
            rewrites.append(FullNames(handle.text if handle else "", names, profile.plain_options))
            kept += [*names, *([handle.text] if handle else [])]
        read = ", ".join(
            f"{ours} = {' / '.join(map(shown, [theirs, *(names if ours == 'name' else [])]))}"
            for ours, theirs in renamed.items()
        )
        notes = [f"Read as {profile.title}: {read}."]
        if location:
            notes.append(f"Location: {shown(location)}.")
        elif by_location and self._choice.adds_up:
            notes.append("Location: all, added up.")
        columns = Columns(
            known=list(renamed),
            required=["sku"],
            renamed=renamed,
            allow_others=True,
            header_line=header.line,
            kept=list(dict.fromkeys(kept)),
            upper_case=self._upper_case,
        )
        return Selection(columns, checks, rewrites, notes)

    def _unknown(self, texts: Sequence[str]) -> UnreadableFile:
        """Return the error for a header without the needed columns."""
        looked_for = "; ".join(
            f"{ours} in {get_text_list([_described(name) for name in names])}"
            for ours, names in self._names.items()
            if names
        )
        return UnreadableFile(
            f"The profile {self._choice.profile} does not know this layout. It looks for "
            f"{looked_for}. The header has {_listed(texts)}. Choose another file or profile, or "
            "name the columns yourself."
        )


class _Survey:
    """The locations of the rows below a header, and the columns that are filled in."""

    def __init__(
        self,
        layout: "_Layout",
        header: _Header,
        by_location: _Column | None,
        found: Mapping[str, Sequence[_Column]],
        conditions: Mapping[str, set[str]],
    ) -> None:
        self.locations: dict[str, str] = {}
        """Maps the key of each location to its name in the file."""
        self.stocked: set[str] = set()
        """The keys of the locations at which a product has an amount."""
        self._has_rows_of_locations = by_location is not None
        self._filled: set[tuple[int, str]] = set()
        keys = [folded(text) for text in header.texts]
        sku = found["sku"][0]
        amounts = [each.place for each in found.get(layout.amount, ())]
        self._words = {folded(word) for word in layout.profile.without_amount}
        watched = [each.place for columns in found.values() if columns[1:] for each in columns]
        for cells in header.rows:
            if not is_filled(_at(cells, sku.place)):
                continue
            if conditions and not meets(conditions, dict(zip(keys, cells, strict=False))):
                continue
            location = text_of(_at(cells, by_location.place)).strip() if by_location else ""
            key = location_key(location)
            if location:
                self.locations.setdefault(key, location)
                if any(self._is_amount(_at(cells, at)) for at in amounts):
                    self.stocked.add(key)
            self._filled.update((at, key) for at in watched if is_filled(_at(cells, at)))

    def _is_amount(self, cell: Cell) -> bool:
        return is_filled(cell) and folded(text_of(cell)) not in self._words

    def first_filled(self, columns: Sequence[_Column], location: str) -> _Column | None:
        """Return the first column that has a value at a location, or else the first column."""
        key = location_key(location)
        here = [each for each in columns if not each.location or location_key(each.location) == key]
        for column in here:
            if not self._has_rows_of_locations:
                is_used = (column.place, "") in self._filled
            else:
                is_used = any(
                    at == column.place and key in ("", other) for at, other in self._filled
                )
            if is_used:
                return column
        return here[0] if here else None


def _at(cells: Sequence[Cell], place: int) -> Cell:
    return cells[place] if place < len(cells) else None


def _described(name: str) -> str:
    if name == LOCATION:
        return "a column named after a location"
    return shown(name.replace(LOCATION, "LOCATION"))


def _refuse_missing(field: str, columns: Iterable[str], texts: Sequence[str]) -> None:
    names = set(map(folded, texts))
    for column in columns:
        if folded(column) not in names:
            detail = f"The file has no column {shown(column)}. The header has {_listed(texts)}."
            raise InvalidChoice(field, detail)


def _listed(texts: Sequence[str]) -> str:
    names = list(filter(None, texts))
    more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
    return ", ".join(map(shown, names[:_NAMES_LISTED])) + more or "no names"


def _refuse_shared(renamed: Mapping[str, str]) -> None:
    used: dict[str, str] = {}
    for ours, theirs in renamed.items():
        first = used.setdefault(folded(theirs), ours)
        if first != ours:
            raise UnreadableFile(
                f"{first} and {ours} would both be read from the column {shown(theirs)}. Name "
                "different columns."
            )
