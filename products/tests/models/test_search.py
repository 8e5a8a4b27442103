"""What a search finds, by a definition in plain Python, and by each way to find it."""

import unicodedata

import hypothesis
import pytest
from django.db import connection, transaction
from hypothesis import strategies as st

from products import stock, triggers
from products.models import Product, finding
from products.models.search import Search, fold
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

CATALOGUE = {
    "85123A": "White Hanging Heart T-Light Holder",
    "85116": "Black candle holder",
    "TSHIRT-RED-L": "T-shirt, large (red)",
    "TSHIRT-BLUE": "T-Shirt Blue",
    "MUG": "Crème brûlée mug",
    "MUG-2": "Große Tasse",
    "JP-1": "赤いマグカップ",
    "JP-2": "ﾏｸﾞ iPhone用ケース",
    "CN-1": "红色马克杯",
    "KO-1": "빨간 머그컵",
    "TH-1": "แก้วสีแดง",
    "FULL": "ＡＢＣ Ｍｕｇ",
    "A": "Smørrebrød & Œuf",
    "B-1": "Łódź İstanbul",
    "RED": "Scarlet",
}


@pytest.fixture
def catalogue(db: None) -> None:
    for sku, name in CATALOGUE.items():
        ProductFactory.create(sku=sku, name=name)


def found(text: str) -> set[str]:
    return {product.sku for product in Product.objects.search(text)}


@pytest.mark.parametrize(
    ("text", "skus"),
    [
        ("hea", {"85123A"}),
        ("hang hea", {"85123A"}),
        ("lant", set()),
        ("hold", {"85123A", "85116"}),
        ("candle", {"85116"}),
        ("candles", set()),
        ("512", {"85123A"}),
        ("5123", {"85123A"}),
        ("123a", {"85123A"}),
        ("85", {"85123A", "85116"}),
        ("51", set()),  # Two characters that do not start a SKU.
        ("A", {"A", "FULL"}),
        ("85123A ", {"85123A"}),
        ("\t 85123a\u3000", {"85123A"}),
        ("８５１２３", {"85123A"}),
        ("512 heart", {"85123A"}),
        ("512 candle", set()),
        ("t-light", {"85123A"}),
        ("heart - white", {"85123A"}),
        ("shirt-red", {"TSHIRT-RED-L"}),
        ("tshirt red", {"TSHIRT-RED-L"}),
        ("red", {"TSHIRT-RED-L", "RED"}),
        ("creme", {"MUG"}),
        ("CRÈME", {"MUG"}),
        ("cre\u0300me bru", {"MUG"}),
        ("grosse", {"MUG-2"}),
        ("GROSSE", {"MUG-2"}),
        ("große", {"MUG-2"}),
        ("abc", {"FULL"}),
        ("ａｂｃ", {"FULL"}),
        ("mug", {"MUG", "MUG-2", "FULL"}),
        ("smorrebrod", {"A"}),
        ("oeuf", {"A"}),
        ("lodz istanbul", {"B-1"}),
        ("赤い", {"JP-1"}),
        ("いマ", {"JP-1"}),
        ("マグ", {"JP-1", "JP-2"}),
        ("ﾏｸﾞ", {"JP-1", "JP-2"}),
        ("マク", set()),  # Another sound: the mark is no accent.
        ("カップ", {"JP-1"}),
        ("プ", {"JP-1"}),
        ("カップ 赤", {"JP-1"}),
        ("ケース iph", {"JP-2"}),
        ("iphone用", {"JP-2"}),
        ("马克", {"CN-1"}),
        ("머그", {"KO-1"}),
        ("그컵 빨간", {"KO-1"}),
        ("สี", {"TH-1"}),
        ("85123A,85116", {"85123A", "85116"}),
        ("85123a; 85116 ;", {"85123A", "85116"}),
        ("85123A,85116,NONE", {"85123A", "85116"}),
        ("85123A 85116 NONE", set()),
        ("MUG RED", {"MUG", "RED"}),  # Both words are SKUs.
        ("large, red", {"TSHIRT-RED-L"}),  # Of both, only RED is a SKU.
        ("", set()),
        (" ", set()),
        ("&", set()),
        ("%", set()),
        ("'", set()),
        ('"', set()),
        ("mug' OR '", set()),
        ("mug:*", {"MUG", "FULL"}),
        ("\\", set()),
        ("x" * 1_000, set()),
        ("x y " * 1_000, set()),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4, set()),
        ("赤い" * 127, set()),
    ],
)
@pytest.mark.usefixtures("catalogue")
def test_a_search_finds_parts_of_skus_and_the_beginnings_of_words(
    text: str, skus: set[str]
) -> None:
    assert found(text) == skus


# ----------------------------------------------------------------------------------- by definition


def folded(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize(
        "NFC", "".join(c for c in letters if not "\u0300" <= c <= "\u036f")
    )


def is_kana_or_han(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(("KATAKANA", "HIRAGANA", "CJK", "COMBINING KATAKANA"))


def words(text: str) -> list[str]:
    """Split a text where letters and digits end, and where a Japanese run starts or ends."""
    words, kind = [""], None
    for character in text:
        if character.isalnum() or is_kana_or_han(character):
            if is_kana_or_han(character) is not kind:
                words.append("")
                kind = is_kana_or_han(character)
            words[-1] += character
        else:
            kind = None
    return [word for word in words if word]


def is_in_name(piece: str, name: str) -> bool:
    def begins_a_word(word: str) -> bool:
        if is_kana_or_han(word[0]):
            return any(word in other for other in words(name))
        return any(other.startswith(word) for other in words(name))

    return all(map(begins_a_word, words(piece)))


def is_in_sku(text: str, sku: str) -> bool:
    return text in sku if len(text) >= 3 else sku.startswith(text)


def matches(product: Product, text: str) -> bool:
    text, name, sku = " ".join(folded(text).split()), folded(product.name), product.sku.lower()
    pieces = [piece for piece in text.split() if words(piece)]
    return bool(pieces) and (
        all(is_in_sku(piece, sku) or is_in_name(piece, name) for piece in pieces)
        or is_in_sku(text, sku)
    )


characters = st.sampled_from("aabbcABÉéßＡ1122-  マグカ赤ﾏﾞ.,&'\"\\%_*")
texts = st.text(characters, min_size=1, max_size=8)
names = st.text(characters, min_size=1, max_size=12).filter(lambda name: name.strip())
skus = st.from_regex("[abAB12][abAB12-]{0,7}", fullmatch=True)

WAYS = {
    "in the order of the list": {},
    "counted by the index": {"HEAD": 1, "FREQUENT": 0, "VERY_FREQUENT": 10_000, "MOST": 10_000},
    "by the index": {"HEAD": 1, "FREQUENT": 10_000, "VERY_FREQUENT": 10_000, "MOST": 10_000},
    "more than the index may find": {
        "HEAD": 1,
        "FREQUENT": 10_000,
        "VERY_FREQUENT": 10_000,
        "MOST": 10_000,
        "MAX_FOUND_BY_INDEX": 0,
    },
}


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a few products enough for each way to find them."""
    for name, number in request.param.items():
        monkeypatch.setattr(finding, name, number)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    products=st.dictionaries(skus, names, min_size=1, max_size=6).filter(
        lambda each: len({sku.upper() for sku in each}) == len(each)
    ),
    text=texts,
    order=st.sampled_from(["sku", "-sku", "id", "-id", None]),
)
@pytest.mark.usefixtures("_way")
def test_each_way_finds_what_the_definition_says(
    products: dict[str, str], text: str, order: str | None
) -> None:
    listed = {item.upper() for item in text.replace(",", " ").split()}
    hypothesis.assume(len(listed) < 2 or not listed & {sku.upper() for sku in products})
    sorting = order or "sku"
    column, is_reverse = sorting.lstrip("-"), sorting.startswith("-")
    with transaction.atomic():
        Product.objects.bulk_create(Product(sku=sku, name=name) for sku, name in products.items())
        ordered = sorted(
            Product.objects.all(), key=lambda each: getattr(each, column), reverse=is_reverse
        )
        expected = [product for product in ordered if matches(product, text)]

        result = Product.objects.search(text, order=order)

        assert list(result.order_by(sorting)) == expected
        limit = finding.MAX_FOUND_BY_INDEX + 1
        assert result.countable[:limit].count() == min(len(expected), limit)
        transaction.set_rollback(True)


@pytest.mark.usefixtures("_way", "catalogue")
def test_each_way_keeps_the_filters_of_the_list() -> None:
    stock.edit(sku="MUG", archived=True, by=ACTOR)
    ProductFactory.create(sku="MUG-3", quantity=0, minimum_stock_level=1)

    def mugs(products: object) -> list[str]:
        found = products.search("mug").order_by("sku")  # type: ignore[attr-defined]
        return list(found.values_list("sku", flat=True))

    assert mugs(Product.objects.active()) == ["FULL", "MUG-2", "MUG-3"]
    assert mugs(Product.objects.active().low_stock()) == ["MUG-3"]
    assert mugs(Product.objects.filter(archived=True)) == ["MUG"]
    assert Product.objects.search("mug").low_stock().get().sku == "MUG-3"


@hypothesis.given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


# ---------------------------------------------------------------------------------- kept up to date


def rows_of_index(text: str) -> set[str]:
    """Return what the index alone finds."""
    search = Search(text)
    indexed = Product.objects.filter(search_terms__in_index=search.query)
    return set(indexed.values_list("sku", flat=True))


@pytest.mark.usefixtures("catalogue")
def test_the_index_follows_a_new_name() -> None:
    stock.edit(sku="MUG", name="Beaker", by=ACTOR)

    assert (found("creme"), rows_of_index("creme")) == (set(), set())
    assert (found("beak"), rows_of_index("beak")) == ({"MUG"}, {"MUG"})
    assert rows_of_index("mug") >= {"MUG", "MUG-2", "FULL"}


@pytest.fixture
def _without_triggers(catalogue: None) -> None:
    """Change products on SQLite after a migration has dropped the triggers with the table."""
    with connection.cursor() as cursor:
        for verb in ("insert", "delete", "update"):
            cursor.execute(f"DROP TRIGGER products_search_{verb}")
    stock.edit(sku="MUG", name="Beaker", by=ACTOR)
    ProductFactory.create(sku="NEW", name="Newcomer")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps the index itself")
@pytest.mark.usefixtures("_without_triggers")
def test_the_index_on_sqlite_is_rebuilt_if_its_triggers_were_missing() -> None:
    assert rows_of_index("newcomer") == set()

    triggers.install(connection)

    assert (rows_of_index("newcomer"), rows_of_index("beak")) == ({"NEW"}, {"MUG"})
    assert rows_of_index("creme") == set()
