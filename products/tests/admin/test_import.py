"""Imports in the back office: strict reading, preview, and one application of all rows or none."""

import csv
import io
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from openpyxl import Workbook

from products import demo, stock
from products.ledger.locking import lock_products
from products.models import PendingImport, Product, StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.checks import stored
from products.tests.concurrency import at_once
from products.tests.factories import ACTOR, ProductFactory
from products.tests.real_orders import create_products_for_all_orders

pytestmark = pytest.mark.django_db

MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")


@pytest.fixture
def manager() -> Client:
    return browser_of("Ada", *MANAGER)


def url_of(kind: str) -> str:
    return reverse("admin:products_product_import", args=[kind])


def upload(client: Client, kind: str, content: str | bytes, **fields: str) -> Any:
    """Upload a file and return its preview."""
    data = content.encode() if isinstance(content, str) else content
    return client.post(url_of(kind), {"file": SimpleUploadedFile("rows", data), **fields})


def confirm_url(preview: Any) -> str:
    """Return the URL of the import button of a preview."""
    pending = preview.context["pending"]
    assert pending, preview.content.decode()
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    assert f'action="{url}"' in preview.content.decode()
    return url


def problems_of(preview: Any) -> list[tuple[int, str, str]]:
    """Return line, code and detail of each error in a preview. It must offer no import button."""
    assert preview.context["pending"] is None
    rows = preview.context["rows"]
    return [
        (row.line.number, problem.code, problem.detail)
        for row in rows
        for problem in row.line.problems
    ]


def changes_of(preview: Any) -> list[tuple[Any, ...]]:
    """Return, for each row of a preview, its SKU, label and differences."""
    return [
        (row.line.sku, row.label, *map(tuple, row.differences)) for row in preview.context["rows"]
    ]


def file_error_of(response: Any) -> str:
    """Return the error message for a file that could not be read."""
    [message] = response.context["form"].errors["file"]
    return message


def xlsx(*rows: list[Any]) -> bytes:
    workbook = Workbook()
    for row in rows:
        workbook.worksheets[0].append(row)
    return saved(workbook)


def saved(workbook: Workbook) -> bytes:
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


# ---------------------------------------------------------------------------------- stock changes


def test_stock_changes_are_previewed_and_then_applied_in_order(manager: Client) -> None:
    cup = ProductFactory.create(sku="CUP", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    before = stored()
    rows = (
        "sku,add,remove,quantity,reason,reference,expected_quantity\n"
        "CUP,5,,,delivery,po-7,\n"
        "CUP,,11,,,,\n"
        "CUP,,,9,,count-1,4\n"
    )

    preview = upload(manager, "adjustments", rows, reason="monthly count")

    assert changes_of(preview) == [
        ("CUP", "Add 5", ("On hand", 10, 15), ("Available", 6, 11)),
        ("CUP", "Remove 11", ("On hand", 15, 4), ("Available", 11, 0)),
        ("CUP", "Set to 9", ("On hand", 4, 9), ("Available", 0, 5)),
    ]
    assert stored() == before

    response = manager.post(confirm_url(preview), follow=True)

    assert "Imported 3 rows" in response.content.decode()
    events = StockEvent.objects.filter(product=cup, version__gt=2).order_by("version")
    assert [(e.type, e.quantity_change, e.reason, e.reference) for e in events] == [
        ("InventoryAdded", 5, "delivery", "po-7"),
        ("InventoryRemoved", -11, "monthly count", ""),
        ("InventoryAdjusted", 5, "monthly count", "count-1"),
    ]
    assert {(event.actor, event.source) for event in events} == {("Ada", "admin")}


def test_a_preview_shows_the_api_error_of_each_wrong_row_and_writes_nothing(
    manager: Client,
) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    ProductFactory.create(sku="MUG", quantity=10)
    stock.reserve(sku="CUP", amount=4, by=ACTOR)
    before = stored()
    rows = (
        "sku,add,remove,quantity,expected_quantity\n"
        "CUP,,7,,\n"
        "NOPE,1,,,\n"
        "\n"
        "CUP,,,3,\n"
        "MUG,,,5,11\n"
        "CUP,1,1,,\n"
        "CUP,,,,\n"
        "cup,1,,,\n"
        "CUP,0,,,\n"
        "CUP,1,,,3\n"
        "CUP,1000000000,,,\n"
        ",1,,,\n"
        ",2,,,\n"
    )

    preview = upload(manager, "adjustments", rows, reason="count")

    one = "Fill in exactly one of add, remove, quantity and change."
    not_a_sku = (
        "A SKU has 1 to 50 characters of A-Z, 0-9 and hyphens. The first one is a letter or a "
        "digit. The cell has 'cup'. Read SKUs in capitals (--upper-case), or allow lower case "
        "(SKU_CHARACTERS)."
    )
    below = "CUP cannot be set to 3: 4 are reserved. Release reservations first."
    assert problems_of(preview) == [
        (2, "insufficient_stock", "7 of CUP requested, 6 available."),
        (3, "product_not_found", "Product NOPE does not exist."),
        (5, "below_reserved", below),
        (6, "quantity_changed", "MUG has 10 on hand, not 11. Check the count and try again."),
        (7, "invalid", one),
        (9, "invalid", not_a_sku),
        (10, "invalid", "At least 1 unit is required."),
        (
            11,
            "invalid",
            "Only a row with a quantity can have an expected quantity. Empty the cell.",
        ),
        (
            12,
            "stock_limit_exceeded",
            "CUP has 10 on hand. Adding 1000000000 would exceed the limit of 1000000000.",
        ),
        (13, "invalid", "The SKU is missing."),
        (14, "invalid", "The SKU is missing."),
    ]
    page = preview.content.decode()
    assert "insufficient_stock" in page
    assert "Available: 6." in page
    named = re.findall(r'href="#line-(\d+)"', page)
    assert named == ["2", "3", *map(str, range(5, 8)), *map(str, range(9, 14))]
    assert " and others." in page
    assert set(named) <= set(re.findall(r'id="line-(\d+)"', page))
    assert "Nothing was imported" in page
    assert stored() == before
    assert not PendingImport.objects.exists()


def test_an_import_lists_the_export_columns_that_it_ignores(manager: Client) -> None:
    products, adjustments = (
        re.sub(r"<[^>]*>|\s+", " ", manager.get(url_of(kind)).content.decode())
        for kind in ("products", "adjustments")
    )

    heading = "These columns of an export are ignored:"
    assert heading in products
    derived = "reserved_quantity , available_quantity , low_stock , updated_at , to_order , missing"
    for page, others in (
        (products, derived),
        (adjustments, "name , description , reserved_quantity , available_quantity"),
    ):
        assert " ".join(page.split(heading)[1].split(".")[0].split()).startswith(others)


def test_a_count_without_a_reason_is_refused(manager: Client) -> None:
    ProductFactory.create(sku="CUP")

    preview = upload(manager, "adjustments", "sku,quantity\nCUP,3\n")

    assert problems_of(preview) == [(2, "invalid", "This text may not be blank.")]


def test_an_import_that_is_no_longer_possible_shows_why_and_writes_nothing(
    manager: Client,
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    ProductFactory.create(sku="MUG", quantity=5)
    preview = upload(manager, "adjustments", "sku,remove\nMUG,1\nCUP,4\n")
    stock.remove(sku="CUP", amount=2, by=ACTOR)
    before = stored()

    refused = manager.post(confirm_url(preview))

    detail = "4 of CUP requested, 3 available."
    assert problems_of(refused) == [(3, "insufficient_stock", detail)]
    assert "The stock has changed since the preview" in refused.content.decode()
    assert stored() == before


def test_confirming_a_preview_twice_imports_once(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    preview = upload(manager, "adjustments", "sku,add\nCUP,4\n")

    manager.post(confirm_url(preview))
    again = manager.post(confirm_url(preview), follow=True)

    assert "already applied" in again.content.decode()
    assert Product.objects.get().quantity == 9


@pytest.mark.django_db(transaction=True)
def test_concurrent_confirmations_import_once() -> None:
    ada = browser_of("Ada", *MANAGER)
    ProductFactory.create(sku="CUP", quantity=5)
    url = confirm_url(upload(ada, "adjustments", "sku,add\nCUP,4\n"))
    windows = [Client() for _ in range(4)]
    for window in windows:
        window.force_login(get_user_model().objects.get(username="Ada"))

    responses = at_once([partial(window.post, url) for window in windows])

    assert Product.objects.get().quantity == 9
    targets = Counter(getattr(response, "url", response) for response in responses)
    assert targets == {
        reverse("admin:products_product_changelist"): 1,
        url_of("adjustments"): 3,
    }


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no row locks and a single writer"
)
@pytest.mark.django_db(transaction=True)
def test_a_preview_does_not_wait_for_a_locked_product() -> None:
    ada = browser_of("Ada", *MANAGER)
    ProductFactory.create(sku="CUP", quantity=5)
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock_products(["CUP"])
                is_locked.set()
                assert may_end.wait(timeout=60)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_locked.wait(timeout=60)
        preview = upload(ada, "adjustments", "sku,remove\nCUP,4\n")
        products = upload(ada, "products", "sku,name\nCUP,Big cup\n")
    finally:
        may_end.set()
        holder.join()

    assert changes_of(preview)[0][2] == ("On hand", 5, 1)
    assert changes_of(products)[0][2] == ("Name", "Product CUP", "Big cup")


def test_a_user_cannot_confirm_the_preview_of_another_user(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    preview = upload(manager, "adjustments", "sku,add\nCUP,4\n")

    browser_of("Bob", *MANAGER).post(confirm_url(preview))

    assert Product.objects.get().quantity == 5


def test_unconfirmed_previews_are_deleted_after_a_day(manager: Client) -> None:
    ProductFactory.create(sku="CUP")
    upload(manager, "adjustments", "sku,add\nCUP,1\n")
    old = PendingImport.objects.get()
    PendingImport.objects.update(created_at=timezone.now() - timedelta(hours=25))

    upload(manager, "adjustments", "sku,add\nCUP,2\n")

    assert not PendingImport.objects.filter(pk=old.pk).exists()
    assert PendingImport.objects.count() == 1


@pytest.mark.slow
def test_a_file_of_all_demo_orders_removes_all_stock(manager: Client) -> None:
    create_products_for_all_orders()
    file = io.StringIO()
    writer = csv.writer(file, delimiter=";")
    writer.writerow(["sku", "remove", "reference"])
    for order, lines in demo.read_orders().items():
        writer.writerows([line.sku, line.amount, order] for line in lines)

    preview = upload(manager, "adjustments", file.getvalue(), reason="shipped")
    manager.post(confirm_url(preview))

    assert set(Product.objects.values_list("quantity", flat=True)) == {0}
    removals = StockEvent.objects.filter(type=StockEvent.Type.REMOVED)
    assert removals.count() == len(preview.context["rows"]) == 4_688
    assert sum(removals.values_list("quantity_change", flat=True)) == -47_252


# --------------------------------------------------------------------------------------- products


def test_products_are_created_and_edited(manager: Client) -> None:
    cup = ProductFactory.create(sku="CUP", name="Cup", quantity=10)
    ProductFactory.create(sku="JUG", name="Jug")
    rows = (
        "sku\tname\tdescription\tquantity\tminimum_stock_level\n"
        "MUG\tMug, blue\tBig\t3\t5\n"
        "CUP\tBig cup\t\t\t11\n"
        "JUG\tJug\t\t25\t\n"
    )

    preview = upload(manager, "products", rows)

    new = ("Name", "", "Mug, blue"), ("On hand", "", 3), ("Minimum", "", 5)
    assert changes_of(preview) == [
        ("MUG", "New", *new, ("Description", "", "Big")),
        ("CUP", "Changed", ("Name", "Cup", "Big cup"), ("Minimum", 0, 11)),
        ("JUG", "Unchanged"),
    ]
    assert not Product.objects.filter(sku="MUG").exists()

    manager.post(confirm_url(preview))

    mug = Product.objects.get(sku="MUG")
    assert (mug.name, mug.description, mug.levels) == ("Mug, blue", "Big", (3, 0, 5))
    created = mug.events.get(version=1)
    assert (created.type, created.quantity_change) == ("ProductCreated", 3)
    assert (created.actor, created.source) == ("Ada", "admin")
    cup.refresh_from_db()
    assert (cup.name, cup.levels) == ("Big cup", (10, 0, 11))
    assert list(Product.objects.search("blue")) == [mug]


def test_a_preview_shows_the_error_of_each_wrong_product_row(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=10)
    rows = (
        "sku,name,quantity,minimum_stock_level\n"
        "CUP,Cup,12,\n"
        "MUG,Mug,-1,\n"
        "JUG,,1,\n"
        "POT,Pot,,x\n"
        "POT,Pot,,\n"
        f"PAN,{'n' * 256},,\n"
    )

    preview = upload(manager, "products", rows)

    assert problems_of(preview) == [
        (
            2,
            "invalid",
            "CUP already exists with 10 on hand. Ignore the column quantity, or leave this cell "
            "empty. To change the stock on hand, import an adjustment.",
        ),
        (3, "invalid", "-1 is a negative level. Enter 0 or more, or leave the cell empty."),
        (4, "invalid", "This text may not be blank."),
        (5, "invalid", "'x' is not a whole number. Write digits only, such as 1000."),
        (6, "invalid", "POT is already on line 5. Delete one of the two."),
        (7, "invalid", "At most 255 characters are allowed."),
    ]


def test_an_import_is_refused_if_a_product_was_created_since_the_preview(manager: Client) -> None:
    ProductFactory.create(sku="CUP", name="Cup")
    preview = upload(manager, "products", "sku,name\nCUP,Big cup\nMUG,Mug\n")
    ProductFactory.create(sku="MUG", name="Another mug")
    before = stored()

    refused = manager.post(confirm_url(preview))

    assert problems_of(refused) == [(3, "duplicate_sku", "Product MUG already exists.")]
    assert stored() == before


def test_a_file_that_changes_nothing_cannot_be_confirmed(manager: Client) -> None:
    ProductFactory.create(sku="CUP", name="Cup", quantity=3)

    preview = upload(manager, "products", "sku,name,quantity\nCUP,Cup,3\n")

    assert problems_of(preview) == []
    assert "This file changes nothing." in preview.content.decode()


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffsku,add\r\nCUP,4\r\n".encode(),
        b"sku;add\nCUP;4",
        b"sku\tadd\rCUP\t4\r",
        b'\n\n"sku","add"\n\n"CUP","4"\n,\n',
        b"add,sku,\n4,CUP,\n",
        xlsx(["sku", "add"], ["CUP", 4]),
        xlsx(["sku", "add"], ["CUP", 4.0]),
        xlsx(["sku", "add"], ["CUP", "4"]),
        xlsx(["sku", "add", None], [None, None], ["CUP", 4, None]),
    ],
)
def test_an_import_reads_every_supported_format(manager: Client, content: bytes) -> None:
    ProductFactory.create(sku="CUP", quantity=5)

    preview = upload(manager, "adjustments", content)

    assert changes_of(preview) == [("CUP", "Add 4", ("On hand", 5, 9), ("Available", 5, 9))]


@pytest.mark.parametrize(
    "number",
    ["1e3", " 5", "5 ", "+5", "0x5", "\u0665", "five", "5\0", "9" * 30, "1_0"],
)
def test_a_number_in_a_csv_file_may_contain_only_digits(manager: Client, number: str) -> None:
    ProductFactory.create(sku="CUP")

    preview = upload(manager, "adjustments", f"sku,add\nCUP,{number}\n")

    [(line, code, detail)] = problems_of(preview)
    assert (line, code) == (2, "invalid")
    assert detail.endswith(" is not a whole number. Write digits only, such as 1000.")


@pytest.mark.parametrize(
    ("cell", "detail"),
    [
        (5.5, "Unsupported value: 5.5. Enter text or a whole number."),
        (True, "Unsupported value: True. Enter text or a whole number."),
        (date(2026, 1, 2), "Unsupported value: 2026-01-02 00:00:00. Enter text or a whole number."),
        ("=1+1", "The cell has a formula. Replace it with its value."),
        ("#REF!", "The cell has the error #REF!. Correct it in the spreadsheet."),
        (10**12, "At most 1000000000 units are allowed."),
        (
            -1,
            "-1 is a negative amount. For changes with a sign, use the column change "
            "(--operation change).",
        ),
    ],
)
def test_an_invalid_amount_in_xlsx_is_refused(manager: Client, cell: Any, detail: str) -> None:
    ProductFactory.create(sku="CUP")

    preview = upload(manager, "adjustments", xlsx(["sku", "add"], ["CUP", cell]))

    assert problems_of(preview) == [(2, "invalid", detail)]


def test_a_number_in_xlsx_is_accepted_as_sku_and_reference(manager: Client) -> None:
    ProductFactory.create(sku="22196", quantity=1)
    content = xlsx(["sku", "add", "reference"], [22196, 1, 4711])

    manager.post(confirm_url(upload(manager, "adjustments", content)))

    assert StockEvent.objects.get(type="InventoryAdded").reference == "4711"


@pytest.mark.parametrize("text", ["a\0b", "'=cmd\0"])
def test_a_nul_character_is_refused(manager: Client, text: str) -> None:
    preview = upload(manager, "products", f"sku,name\nCUP,{text}\nC\0P,Cup\n")

    assert [line for line, _, _ in problems_of(preview)] == [2, 3]


@pytest.mark.slow
def test_a_file_has_at_most_ten_thousand_rows(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    rows = "sku,add\n" + "CUP,1\n" * 10_000

    preview = upload(manager, "adjustments", rows)
    manager.post(confirm_url(preview))
    longer = upload(manager, "adjustments", rows + "CUP,1\n")

    assert Product.objects.get().quantity == 10_005
    too_long = "The file has more than 10,000 rows. Split it into smaller files."
    assert file_error_of(longer) == too_long


def part_of_xlsx(name: str, content: bytes) -> bytes:
    """Return a workbook with one part replaced."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(xlsx(["sku", "add"], ["CUP", 1]))) as original,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for part in original.namelist():
            changed.writestr(part, content if part == name else original.read(part))
    return file.getvalue()


def with_sheets(count: int) -> bytes:
    """Return a workbook with this number of sheets."""
    workbook = Workbook()
    for _ in range(count - 1):
        workbook.create_sheet()
    return saved(workbook)


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    "<sheetData>{}</sheetData></worksheet>"
)
NOT_XLSX = "The file cannot be read as XLSX. Open it in a spreadsheet program and save it again."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b"", "The submitted file is empty."),
        (lambda: b" \n", "Missing column: 'sku'."),
        (lambda: b"sku,add\n", "The file has no rows below the header."),
        (lambda: b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8 text"),
        (lambda: "sku,add\nCUP,1".encode("utf-16")[:-1], "not UTF-16 text"),
        (lambda: "sku,reason\nCUP,é".encode("latin-1"), "not UTF-8 text"),
        (lambda: b"sku,reason\nCUP,\xed\xa0\x80", "not UTF-8 text"),
        (lambda: b"sku,amount\nCUP,1", "Unknown column: 'amount'."),
        (lambda: b"add\n1", "Missing column: 'sku'."),
        (lambda: b"sku,add,add\nCUP,1,2", "Repeated column: 'add'."),
        (lambda: b"SKUs,add\nCUP,1", "Missing column: 'sku'. Unknown column: 'SKUs'."),
        (lambda: b"{}\0\n1", "Unknown column: "),
        (lambda: b"sku" + b",add" * 100_000, "Repeated column: 'add'"),
        (lambda: b"sku" + b",add" * 1_000_000, "Line 1 is too long"),
        (lambda: b'sku,add\n"CUP"x,1', "Line 2 is not valid CSV:"),
        (lambda: b'sku,add\nCUP,1\n"CUP', "Line 3 is not valid CSV: unexpected end of data."),
        (
            lambda: b"sku,reason\nCUP," + b"x" * 200_000,
            "not valid CSV: field larger than",
        ),
        (lambda: b"x" * (5 * 1024 * 1024 + 1), "The file is larger than 5 MiB."),
        (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1", "The file is an old .xls file"),
        (lambda: b"PK\3\4 and no more", NOT_XLSX),
        (lambda: xlsx(["sku", "add"])[:-30], NOT_XLSX),
        (lambda: xlsx(["sku", "add"]).replace(b"PK\1\2\x14\3\x14", b"PK\1\2\xff\3\xff"), NOT_XLSX),
        (lambda: xlsx(), "Missing column: 'sku'"),
        (lambda: part_of_xlsx("xl/workbook.xml", b"<"), NOT_XLSX),
        (lambda: part_of_xlsx("xl/worksheets/sheet1.xml", b"\0" * 33_600_000), "unpacks to more"),
        (lambda: part_of_xlsx("xl/styles.xml", b"<xf/>" * 200_000), "too many cells or styles"),
        (
            lambda: part_of_xlsx("xl/styles.xml", ("<x:xf/>" * 200_000).encode("utf-16")),
            "too many cells or styles",
        ),
        (
            lambda: part_of_xlsx(
                "xl/worksheets/sheet1.xml", SHEET.format("<row/>" * 1_500_001).encode()
            ),
            "too many cells or styles",
        ),
        (lambda: with_sheets(101), "more than 100 sheets"),
        (
            lambda: part_of_xlsx(
                "xl/worksheets/sheet1.xml",
                SHEET.format('<row r="1"/><row r="2000000000"/>').encode(),
            ),
            "Missing column: 'sku'",
        ),
        (
            lambda: part_of_xlsx(
                "xl/worksheets/sheet1.xml",
                SHEET.format('<row><c t="inlineStr"><is><t>&#xD800;</t></is></c></row>').encode(),
            ),
            NOT_XLSX,
        ),
        (
            lambda: part_of_xlsx(
                "xl/worksheets/sheet1.xml",
                (
                    "<!DOCTYPE x ["
                    + '<!ENTITY e0 "sku">'
                    + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
                    + "]>"
                    + SHEET.format('<row><c t="inlineStr"><is><t>&e9;</t></is></c></row>')
                ).encode(),
            ),
            NOT_XLSX,
        ),
    ],
)
def test_an_unreadable_file_is_refused_with_a_reason(
    manager: Client, make: Callable[[], bytes], message: str
) -> None:
    response = upload(manager, "adjustments", make())

    assert response.status_code == 200
    assert message in file_error_of(response)


def test_a_form_without_a_file_is_refused(manager: Client) -> None:
    assert manager.get(url_of("products")).status_code == 200
    assert file_error_of(manager.post(url_of("products"), {"x": ""})) == "This field is required."


# ------------------------------------------------------------------------------------ permissions

VIEWER = ("view_product",)
CLERK = (*VIEWER, "operate_stock")


@pytest.mark.parametrize(
    ("permissions", "kind", "allowed"),
    [
        (VIEWER, "products", False),
        (VIEWER, "adjustments", False),
        (CLERK, "products", False),
        (CLERK, "adjustments", False),
        ((*VIEWER, "adjust_stock"), "adjustments", False),
        ((*CLERK, "adjust_stock"), "adjustments", True),
        ((*CLERK, "adjust_stock"), "products", False),
        ((*VIEWER, "add_product"), "products", False),
        ((*VIEWER, "change_product"), "products", False),
        ((*VIEWER, "add_product", "change_product"), "products", True),
    ],
)
def test_each_import_needs_its_permissions(
    manager: Client, permissions: tuple[str, ...], kind: str, allowed: bool
) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    content = {"products": "sku,name\nCUP,x\n", "adjustments": "sku,add\nCUP,1\n"}[kind]
    forged = confirm_url(upload(manager, kind, content))
    browser = browser_of("Bob", *permissions)
    PendingImport.objects.update(user=get_user_model().objects.get(username="Bob"))
    before = stored()

    listed = browser.get(reverse("admin:products_product_changelist"))
    responses = [browser.get(url_of(kind)), upload(browser, kind, content), browser.post(forged)]

    assert (url_of(kind) in listed.content.decode()) == allowed
    expected = [200, 200, 302] if allowed else [403, 403, 403]
    assert [response.status_code for response in responses] == expected
    assert (stored() == before) != allowed


def test_a_confirmation_needs_a_login_a_post_and_a_csrf_token(manager: Client) -> None:
    ProductFactory.create(sku="CUP", quantity=5)
    url = confirm_url(upload(manager, "adjustments", "sku,add\nCUP,4\n"))
    checked = Client(enforce_csrf_checks=True)
    checked.force_login(get_user_model().objects.get(username="Ada"))

    statuses = [
        Client().post(url).status_code,
        manager.get(url).status_code,
        checked.post(url).status_code,
        manager.post(reverse("admin:products_product_import", args=["users"])).status_code,
    ]

    assert statuses == [302, 405, 403, 404]
    assert Product.objects.get().quantity == 5
