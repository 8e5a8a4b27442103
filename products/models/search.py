"""What a search finds, and the terms that its index holds.

A text is split at blanks. It finds a product if each piece is a part of the SKU, or if each word of
the piece begins a word of the name. One or two characters are compared with the start of the SKU
only. The whole text, with its blanks, may also be a part of the SKU. Scripts without blanks between
words are searched by character.

`Search.condition` is this rule. The index finds a few products more, so it only narrows the search
down (ADR 22).
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

from django.db.models import Q

from products.validators import ALL_SKU_CHARACTERS, MAX_NAME_LENGTH

MIN_SKU_PART = 3
"""Characters of the shortest text that is found anywhere in a SKU, and of the parts in the index.
"""

MAX_LISTED_SKUS = 200
"""SKUs in a list that is pasted into the search."""

_SEPARATOR = "\n"
"""Written before each term, so that the start of a term can be searched in the column."""

# Accents. Vowels and tones, such as those of Thai and Hindi, are letters here.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Letters with a stroke and ligatures, which Unicode does not split.
_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "\u0131": "i",
    }
)
# Thai, Lao, Burmese, Khmer; kana; Chinese characters; Korean.
_BY_CHARACTER = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd\uac00-\ud7af"
)
# Vowels of Hebrew, of Arabic and of the scripts of India.
_MARKS = (
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f"
    "\u0900-\u0903\u093a-\u094f\u0981-\u0dff"
)
_WORD = re.compile(f"[{_BY_CHARACTER}]+|(?:[^\\W_{_BY_CHARACTER}]|[{_MARKS}])+")
_RUN = re.compile(f"[{_BY_CHARACTER}]+")
_POSSIBLE_PART = re.compile(f"[{ALL_SKU_CHARACTERS}]+")
_LIST_SEPARATORS = re.compile(r"[,;\s]+")


def fold(text: str) -> str:
    """Return a text without differences of case, accents and width."""
    for _ in range(2):  # Folding the case can leave accents, and the other way round.
        text = unicodedata.normalize("NFKD", text).casefold()
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).translate(_LETTERS)
    return unicodedata.normalize("NFC", text)


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order, folded. A run of Japanese is one word."""
    return _WORD.findall(fold(text))


def terms_of(sku: str, name: str) -> str:
    """Return the terms by which the index finds a product, each after a separator.

    They are the words of the name; the pairs of characters of scripts without blanks; the first
    characters of the SKU (`^m`, `^mu`, `^mug`), and its other parts of three characters (`~ug-`).
    """
    words, folded = words_of(name), fold(sku)
    lengths = range(1, min(len(folded), MIN_SKU_PART) + 1)
    terms = [
        *words,
        *(pair for word in words if _is_run(word) for pair in _pairs(word)),
        *(f"^{folded[:length]}" for length in lengths),
        *_inner_parts(folded[1:]),
    ]
    return "".join(f"{_SEPARATOR}{term}" for term in dict.fromkeys(terms))


def _is_run(word: str) -> bool:
    return _RUN.match(word) is not None


def _pairs(run: str) -> list[str]:
    """Return each character with the next one. The last character stands alone."""
    return [run[index : index + 2] for index in range(len(run))]


def _inner_parts(folded: str) -> list[str]:
    last = len(folded) - MIN_SKU_PART
    return [f"~{folded[index : index + MIN_SKU_PART]}" for index in range(last + 1)]


class Syntax(NamedTuple):
    """How a database writes the query of its index."""

    quote: str
    prefix: str
    every: str
    either: str


POSTGRESQL = Syntax("'", ":*", " & ", " | ")
FTS5 = Syntax('"', "*", " AND ", " OR ")

_Combined = Callable[[Iterable["_Part"]], "_Part"]


class _Part(NamedTuple):
    """A condition on a product: exact, and as a query of the index that finds at least the same."""

    exact: Q
    query: Callable[[Syntax], str]


def _all_of(parts: Iterable[_Part]) -> _Part:
    return _combined(parts, Q.AND)


def _any_of(parts: Iterable[_Part]) -> _Part:
    return _combined(parts, Q.OR)


def _combined(parts: Iterable[_Part], connector: str) -> _Part:
    chosen = list(parts)
    exact = Q(*(part.exact for part in chosen), _connector=connector)

    def query(syntax: Syntax) -> str:
        sign = syntax.every if connector == Q.AND else syntax.either
        return f"({sign.join(part.query(syntax) for part in chosen)})"

    return _Part(exact, query)


def _terms(exact: Q, terms: Iterable[str], *, are_prefixes: bool = False) -> _Part:
    """Return a condition with the terms that the index must hold. They contain no quotes."""
    chosen = list(terms)

    def query(syntax: Syntax) -> str:
        quote, suffix = syntax.quote, syntax.prefix if are_prefixes else ""
        return f"({syntax.every.join(f'{quote}{term}{quote}{suffix}' for term in chosen)})"

    return _Part(exact, query)


def _part_of_sku(folded: str) -> list[_Part]:
    """Return the condition that a text is a part of the SKU, or none if it cannot be one."""
    if not _POSSIBLE_PART.fullmatch(folded):
        return []
    if len(folded) < MIN_SKU_PART:
        return [_terms(Q(capitals__startswith=folded.upper()), [f"^{folded}"])]
    exact = Q(capitals__contains=folded.upper())
    starts = _terms(exact, [f"^{folded[:MIN_SKU_PART]}", *_inner_parts(folded[1:])])
    return [_any_of([starts, *_inner_part_of_sku(folded)])._replace(exact=exact)]


def _inner_part_of_sku(folded: str) -> list[_Part]:
    """Return the condition that a text is a part of the SKU behind its first character."""
    if len(folded) < MIN_SKU_PART or not _POSSIBLE_PART.fullmatch(folded):
        return []
    return [_terms(Q(capitals__contains=folded.upper()), _inner_parts(folded))]


def _in_name(word: str) -> _Part:
    if not _is_run(word):
        starts = Q(search_terms__contains=f"{_SEPARATOR}{word}")
        return _terms(starts, [word], are_prefixes=True)
    exact = Q(search_terms__contains=word)
    if len(word) == 1:
        return _terms(exact, [word], are_prefixes=True)
    return _terms(exact, _pairs(word)[:-1])


def _words_in_name(piece: str) -> list[_Part]:
    """Return the condition that the words of a piece are in the name, or none for `&`."""
    words = _WORD.findall(piece)
    return [_all_of(map(_in_name, words))] if words else []


def _piece(piece: str) -> list[_Part]:
    in_name = _words_in_name(piece)
    return [_any_of([*in_name, *_part_of_sku(piece)])] if in_name else []


class Search:
    """A text to search for.

    The conditions need the alias `capitals`, which is the SKU in capitals.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()

    @cached_property
    def listed(self) -> list[str]:
        """The items of the text, if it could be a list of SKUs."""
        items = [item for item in _LIST_SEPARATORS.split(self.text) if item]
        return items if 1 < len(items) <= MAX_LISTED_SKUS else []

    @property
    def has_commas(self) -> bool:
        return "," in self.text or ";" in self.text

    @property
    def condition(self) -> Q:
        """The products that the text finds."""
        return self._part.exact if self._part else Q(pk__in=[])

    def query(self, syntax: Syntax) -> str:
        """Return the query of the index, which finds a few products more."""
        return self._part.query(syntax) if self._part else ""

    @property
    def is_empty(self) -> bool:
        """Whether the text can find nothing: it has no letter or digit, or is too long."""
        return self._part is None

    @property
    def start(self) -> str:
        """The text in capitals if it is a single piece with which a SKU can start, or nothing."""
        is_piece = " " not in self._folded and _POSSIBLE_PART.fullmatch(self._folded)
        return self._folded.upper() if is_piece else ""

    def query_elsewhere(self, syntax: Syntax) -> str:
        """Return the query of the products that a text with a `start` finds without that start."""
        folded = self._folded
        alternatives = [*_words_in_name(folded), *_inner_part_of_sku(folded)]
        return _any_of(alternatives).query(syntax) if alternatives else ""

    @cached_property
    def _folded(self) -> str:
        return " ".join(fold(self.text).split())

    @cached_property
    def _part(self) -> _Part | None:
        if len(self._folded) > MAX_NAME_LENGTH:
            return None
        pieces = [part for piece in dict.fromkeys(self._folded.split()) for part in _piece(piece)]
        # A SKU can have several blanks in a row.
        wholes = dict.fromkeys([self._folded, fold(self.text).strip()])
        as_a_whole = [part for whole in wholes if " " in whole for part in _part_of_sku(whole)]
        alternatives = [*([_all_of(pieces)] if pieces else []), *as_a_whole]
        return _any_of(alternatives) if alternatives else None
