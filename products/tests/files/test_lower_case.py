"""Files whose SKUs have lower case or other characters that are not allowed by default."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from openpyxl import Workbook

from products.models import Product
from products.tests.admin.browsers import browser_of
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db

MANAGER = ("view_product", "add_product", "change_product", "operate_stock", "adjust_stock")


@pytest.fixture
def browser() -> Client:
    return browser_of("Ada", *MANAGER)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command on a file, and returns its output or its error."""

    def run(name: str, content: str, *options: str) -> str:
        path, output = tmp_path / "rows.csv", StringIO()
        path.write_text(content, encoding="utf-8")
        with suppress(SystemExit):
            try:
                call_command(name, str(path), *options, stdout=output)
            except CommandError as error:
                return f"CommandError: {error}"
        return output.getvalue()

    return run


Command = Callable[..., str]


def preview(browser: Client, kind: str, content: str | bytes, **fields: str) -> Any:
    data = content.encode() if isinstance(content, str) else content
    url = reverse("admin:products_product_import", args=[kind])
    page: Any = browser.post(url, {"file": SimpleUploadedFile("rows", data), **fields})
    assert "rows" in page.context, page.context["form"].errors
    return page


def confirm(browser: Client, page: Any) -> None:
    pending = page.context["pending"]
    url = reverse("admin:products_product_import_confirm", args=[pending.kind, pending.pk])
    assert "Imported" in browser.post(url, follow=True).content.decode()


def problems_of(page: Any) -> list[tuple[int, str]]:
    return [
        (row.line.number, problem.detail)
        for row in page.context["rows"]
        for problem in row.line.problems
    ]


GRAMMAR = (
    "A SKU has 1 to 50 characters of A-Z, 0-9 and hyphens. The first one is a letter or a digit."
)
REMEDIES = {
    "tee": "Read SKUs in capitals (--upper-case), or allow lower case (SKU_CHARACTERS).",
    "low-stock": "Read SKUs in capitals (--upper-case), or change the SKU.",
    "tee_m": "The setting SKU_CHARACTERS can allow lower case and underscores.",
    "TEE_M": "The setting SKU_CHARACTERS can allow underscores.",
    "1.50": "The setting SKU_CHARACTERS can allow dots.",
    "TEE M.x": "The setting SKU_CHARACTERS can allow lower case, dots and inner blanks.",
    "TEE/M": "A SKU can never have a slash. Change the SKU.",
    "tee/m": "A SKU can never have a slash. Change the SKU.",
    "TEE,M": "A SKU can never have a comma. Change the SKU.",
    "a/b,c": "A SKU can never have a slash or a comma. Change the SKU.",
    "_TEE": "",
}


@pytest.mark.parametrize("sku", REMEDIES)
def test_the_refusal_shows_the_cell_and_what_can_be_done(
    command: Command, browser: Client, sku: str
) -> None:
    detail = f"{GRAMMAR} The cell has {sku!r}."
    if REMEDIES[sku]:
        detail += f" {REMEDIES[sku]}"
    content = f'sku,add,name\n"{sku}",1,x\n'

    said = command("bulk_adjust", content, "--ignore-other-columns")
    for kind in ("products", "adjustments"):
        page = preview(browser, kind, content, ignore_other_columns="on")
        assert problems_of(page) == [(2, detail)]

    assert said.startswith(f"2\t\tinvalid\tsku: {detail}\n")


ROWS = "sku,name,quantity\ntee-m,Tee,5\n' mug ,Mug,6\nPOT,Pot,7\n"


def levels() -> dict[str, int]:
    return dict(Product.objects.values_list("sku", "quantity"))


def test_capitals_by_command(command: Command) -> None:
    command("import_products", ROWS, "--upper-case")
    assert levels() == {"TEE-M": 5, "MUG": 6, "POT": 7}

    command("bulk_adjust", "sku,add\ntee-m,1\nTee-M,1\npot,1\n", "--upper-case")
    assert levels() == {"TEE-M": 7, "MUG": 6, "POT": 8}


def xlsx(content: str) -> bytes:
    workbook, file = Workbook(), BytesIO()
    for row in content.splitlines():
        workbook.worksheets[0].append(
            [int(cell) if cell.isdigit() else cell for cell in row.split(",")]
        )
    workbook.save(file)
    return file.getvalue()


@pytest.mark.parametrize("written", [str, xlsx])
def test_capitals_in_the_back_office(
    browser: Client, written: Callable[[str], str | bytes]
) -> None:
    confirm(browser, preview(browser, "products", written(ROWS), upper_case="on"))
    counts = "sku,quantity,reason\ntee-m,1,x\npot,2,x\n"
    confirm(browser, preview(browser, "adjustments", written(counts), upper_case="on"))

    assert levels() == {"TEE-M": 1, "MUG": 6, "POT": 2}


def test_only_skus_are_written_in_capitals(command: Command) -> None:
    command("import_products", "sku,name\ntee,Blue tee\n", "--upper-case")

    assert Product.objects.get().name == "Blue tee"


@pytest.mark.parametrize(
    "cell",
    [
        "nan",
        "null",
        "tee m",
        "\u017fku",
        "m\u00fcg",
        "tee/m",
        "TEE-\u00df",
        "\uff54ee",
        "-tee",
        "#n/a",
        "x" * 51,
    ],
)
def test_other_cells_stay_refused_as_they_are(command: Command, browser: Client, cell: str) -> None:
    content = f"sku,add\n{cell},1\n"

    said = command("bulk_adjust", content, "--upper-case")
    page = preview(browser, "adjustments", content, upper_case="on")

    [(line, detail)] = problems_of(page)
    shown = cell if len(cell) <= 40 else f"{cell[:40]}…"
    assert (line, repr(shown) in detail) == (2, True), detail
    assert said.startswith(f"2\t\tinvalid\tsku: {detail}\n")


def test_skus_that_become_equal_are_repeated(command: Command, browser: Client) -> None:
    ProductFactory.create(sku="TEE", quantity=1)
    products = "sku,name\nmug,Mug\nTEE,x\nMUG,Mug\n"
    counts = "sku,quantity,reason\ntee,5,x\nTee,6,x\n"

    assert "4\tMUG\tinvalid\tsku: MUG is already on line 2." in command(
        "import_products", products, "--upper-case"
    )
    assert "3\tTEE\trepeated_count\tTEE is already counted on line 2." in command(
        "bulk_adjust", counts, "--upper-case"
    )
    assert problems_of(preview(browser, "products", products, upper_case="on")) == [
        (4, "MUG is already on line 2. Delete one of the two.")
    ]
    [(line, detail)] = problems_of(preview(browser, "adjustments", counts, upper_case="on"))
    assert (line, detail[:37]) == (3, "TEE is already counted on line 2. Del")
    assert levels() == {"TEE": 1}

    command("bulk_adjust", counts, "--upper-case", "--sum-repeated")
    assert levels() == {"TEE": 11}


def test_a_reference_belongs_to_one_reading_of_a_file(command: Command) -> None:
    ProductFactory.create(sku="TEE", quantity=1)
    file = ("bulk_adjust", "sku,add\nTEE,1\n", "--reference", "delivery-1")

    command(*file)

    assert "was used for another file or with other options" in command(*file, "--upper-case")
    assert "already applied" in command(*file)
    assert levels() == {"TEE": 2}


def test_refused_lines_keep_their_cells(command: Command, tmp_path: Path) -> None:
    ProductFactory.create(sku="TEE", quantity=1)
    rejects = tmp_path / "rejects.csv"
    options = ("--upper-case", "--keep-going", "--reference", "r-1", "--rejects", str(rejects))

    command("bulk_adjust", "sku,remove\ntee,9\nTee,1\n", *options)

    assert rejects.read_text().splitlines()[1].startswith("tee,9,2,insufficient_stock,")
    assert levels() == {"TEE": 0}


def test_a_swallowed_row_in_lower_case_is_noticed(command: Command) -> None:
    """A stray quotation mark joins two rows. The second one starts with a SKU."""
    ProductFactory.create(sku="MUG", quantity=1)
    content = 'sku,add,reason\nmug,1,"delivery\ntee,5,delivery"\n'

    said = command("bulk_adjust", content, "--upper-case")

    assert "A quotation mark on line 2 joins it to line 3" in said
    assert levels() == {"MUG": 1}


def test_a_profile_reads_skus_in_capitals(command: Command, browser: Client) -> None:
    content = "ID,SKU,Name,Stock\n1,tee-m,Tee,5\n"

    command("import_products", content, "--profile", "woocommerce", "--upper-case")
    assert levels() == {"TEE-M": 5}

    page = preview(browser, "products", content, profile="woocommerce", upper_case="on")
    assert problems_of(page) == []
    assert dict(page.context["tally"])["unchanged"] == 1
