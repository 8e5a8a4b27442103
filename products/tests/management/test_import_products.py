"""`import_products`: creates and edits products, all or none."""

from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from products import stock
from products.models import Product, StockEvent
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

HEADER = "sku,name,description,quantity,minimum_stock_level\n"


def import_products(*arguments: str) -> tuple[int, str]:
    """Run `import_products`, and return its exit status and output."""
    output = StringIO()
    try:
        call_command("import_products", *arguments, stdout=output)
    except CommandError as error:
        return error.returncode, str(error)
    except SystemExit as end:
        return int(str(end.code)), output.getvalue()
    return 0, output.getvalue()


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Return a function that runs `import_products` on a file with this content."""

    def run(content: str, *options: str) -> tuple[int, str]:
        path = tmp_path / "products.csv"
        path.write_text(content, encoding="utf-8")
        return import_products(str(path), *options)

    return run


Load = Callable[..., tuple[int, str]]


def test_creates_new_products_and_edits_existing_ones(load: Load) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=5)
    ProductFactory.create(sku="POT", name="Pot", quantity=5)

    ended = load(
        f"{HEADER}JUG,Jug,For milk,7,9\nPOT,,,,6\nCUP,Mug,'=A1,5,\nDISH,Dish,,,\n", "--actor", "Ada"
    )

    figures = [("lines", 4), ("applied", 4), ("  new", 2), ("  changed", 2), ("  unchanged", 0)]
    assert ended == (0, "".join(f"{name:<40}{count:>13}\n" for name, count in figures))
    fields = ("sku", "name", "description", "quantity", "minimum_stock_level", "version")
    assert list(Product.objects.order_by("sku").values_list(*fields)) == [
        ("CUP", "Mug", "=A1", 5, 0, 2),
        ("DISH", "Dish", "", 0, 0, 1),
        ("JUG", "Jug", "For milk", 7, 9, 2),
        ("POT", "Pot", "", 5, 6, 3),
    ]
    opened = StockEvent.objects.get(sku="JUG", version=1)
    assert (opened.type, opened.quantity_change, opened.reason) == ("ProductCreated", 7, "import")
    assert (opened.actor, opened.source) == ("Ada", "command")
    low = StockEvent.objects.filter(type="LowStockDetected")
    assert set(low.values_list("sku", flat=True)) == {"JUG", "POT"}


def test_importing_an_export_changes_nothing(load: Load, tmp_path: Path) -> None:
    ProductFactory.create(sku="CUP", name="=1+1", description='two\nlines, "quoted"')
    stock.reserve(sku="CUP", amount=3, by=ACTOR)
    path = tmp_path / "export.csv"
    call_command("export_products", str(path), stdout=StringIO())
    before = stored()

    ended = import_products(str(path))

    assert ended[0] == 0
    assert stored() == before


WRONG = [
    ("CUP,,,6,", "CUP already exists with 5 on hand."),
    ("JUG,,,,", "name: This text may not be blank."),
    ("JUG,Jug,,-1,", "quantity: -1 is a negative level."),
    ("JUG,Jug,,1.5,", "quantity: '1.5' has a fraction. Units are whole numbers."),
    ("JUG,Jug,,,x", "minimum_stock_level: 'x' is not a whole number."),
    ("jug,Jug,,,", "sku: A SKU has 1 to 50 characters"),
    ("JUG\0,Jug,,,", "sku: NUL and surrogate characters are not allowed."),
    (",Jug,,,", "sku: The SKU is missing."),
    ("POT,Pot,,,", "sku: POT is already on line 2. Delete one of the two."),
    (f"JUG,{'x' * 256},,,", "name: At most 255 characters are allowed."),
    ("JUG,Jug,\0,,", "description: NUL and surrogate characters are not allowed."),
    ("JUG,Jug,,,,1", "line: A column without a name has a value."),
]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(("row", "detail"), WRONG)
def test_one_refused_line_prevents_all(
    load: Load, row: str, detail: str, options: list[str]
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    before = stored()

    status, output = load(f"{HEADER}POT,Pot,,1,\n{row}\nDISH,Dish,,,\n", *options)

    assert status == 1
    assert stored() == before
    [refusal] = [line for line in output.splitlines() if "\t" in line]
    assert refusal.split("\t")[0] == "3"
    assert detail in refusal
    assert output.endswith("Nothing was changed.\n")


def test_a_dry_run_changes_nothing(load: Load) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    before = stored()

    status, output = load(f"{HEADER}POT,Pot,,1,\nCUP,Mug,,,\n", "--dry-run")

    assert (status, stored()) == (0, before)
    assert output.startswith(f"{'lines':<40}{2:>13}\n{'can be applied':<40}{2:>13}\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "Missing column: 'sku'."),
        (HEADER, "The file has no rows below the header."),
        ("sku,price\nCUP,1\n", "Unknown column: 'price'."),
        ('sku,name\nCUP,"Cup\n', "Line 2 is not valid CSV: unexpected end of data"),
    ],
)
def test_refuses_an_unreadable_file(load: Load, content: str, complaint: str) -> None:
    status, output = load(content)

    assert status == 2
    assert complaint in output


@pytest.mark.django_db(transaction=True)
def test_concurrent_imports_create_each_product_once(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    rows = "".join(f"CUP-{number},Cup,,5,\n" for number in range(50))
    path.write_text(HEADER + rows)

    ended = at_once([partial(import_products, str(path))] * 4)

    assert Product.objects.filter(quantity=5, version=1).count() == Product.objects.count() == 50
    assert StockEvent.objects.count() == 50
    # A later run finds the products, or is refused while the first creates them.
    for end in ended:
        assert isinstance(end, tuple)
        assert end[0] == 0 or "duplicate_sku" in end[1], end


@pytest.mark.django_db(transaction=True)
def test_a_retried_transaction_reports_no_repeated_lines(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OperationalError("broken off")]
    failures[0].__cause__ = psycopg.errors.DeadlockDetected()
    decide = stock.SavePossible.decide

    def fail_at_first(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return decide(*arguments)

    monkeypatch.setattr(stock.SavePossible, "decide", fail_at_first)

    assert load(f"{HEADER}CUP,Cup,,5,\n")[0] == 0
    assert Product.objects.get().quantity == 5


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_refuses_a_product_created_by_a_concurrent_request(load: Load) -> None:
    """The product is created between the check and the insert, and the transaction is retried."""
    created: list[Any] = []

    def send(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith('INSERT INTO "products_product"') and not created:
            theirs = partial(stock.create, sku="CUP", name="Theirs", by=ACTOR)
            created.extend(at_once([theirs]))
        return execute(sql, *arguments)

    with connection.execute_wrapper(send):
        status, output = load(f"{HEADER}CUP,Mine,,,\nPOT,Pot,,1,\n")

    assert status == 1
    assert "duplicate_sku" in output
    assert list(Product.objects.values_list("sku", "name")) == [("CUP", "Theirs")]
