"""Read the rows of a file of products: new products and edits."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from products import stock
from products.files.cells import Row, shown
from products.files.columns import Columns
from products.files.exports import LOW_STOCK_EXPORT, PRODUCT_EXPORT
from products.files.lines import FileLine, Reader, level_in, read_line
from products.files.profiles import Wanted
from products.models import Product
from products.validators import is_sku

PRODUCT_COLUMNS = ("sku", "name", "description", "quantity", "minimum_stock_level", "archived")

PRODUCT_LISTS = dict.fromkeys((*PRODUCT_EXPORT, *LOW_STOCK_EXPORT))
"""The columns of our lists of products."""

DERIVED_COLUMNS = tuple(name for name in PRODUCT_LISTS if name not in PRODUCT_COLUMNS)
"""The other columns of our lists of products. An import of products ignores them."""

MAPPED_COLUMNS = ("sku", "name", "description", "quantity", "minimum_stock_level")
"""The columns of a file of products that can have other names."""

_READERS: Mapping[str, Reader] = {
    "quantity": level_in,
    "minimum_stock_level": level_in,
    "archived": Row.boolean,
}

_LINE_BREAK = re.compile(r"[\r\n]")


def product_columns(
    *,
    ignore_quantity: bool = False,
    renamed: Mapping[str, str] | None = None,
    allow_others: bool = False,
) -> Columns:
    """Return the columns of a file of products."""
    unread = ("quantity",) if ignore_quantity else ()
    return Columns(
        known=[name for name in PRODUCT_COLUMNS if name not in unread],
        required=("sku",),
        ignored=(*unread, *DERIVED_COLUMNS),
        renamed=renamed or {},
        allow_others=allow_others,
    )


def wanted_in_products(*, ignore_quantity: bool = False) -> Wanted:
    """Return the columns of a file of products that are read with a profile.

    Descriptions are not read: most systems export HTML.
    """
    fields = {"sku": "sku", "name": "name", "minimum_stock_level": "minimum"}
    if not ignore_quantity:
        fields["quantity"] = "amount"
    return Wanted(fields, required=("sku",))


def products_of(skus: Iterable[str]) -> dict[str, Product]:
    """Return the products with these SKUs, without regard to case, by their SKUs in capitals."""
    found = Product.objects.with_skus(filter(is_sku, skus))
    return {product.sku.upper(): product for product in found}


def product_line(row: Row, product: Product | None, *, existing_only: bool = False) -> FileLine:
    """Read a row as a new product, or as an edit of `product` if there is one.

    A `product` whose SKU differs from the row's by case alone is refused as a duplicate. An empty
    cell changes nothing. A row that changes nothing has no change. With `existing_only`,
    a SKU without a product is refused.
    """
    line, values = read_line(row, _READERS)
    values = {name: value for name, value in values.items() if value is not None}
    name = values.get("name", "")
    if _LINE_BREAK.search(name) and not (product and product.name == name):
        # A stray quotation mark in CSV joins lines.
        line.problems.append(stock.Invalid("name", f"A name has no line break: {shown(name)}."))
    if product and product.sku != line.sku:
        line.problems.append(duplicate(line, product))
        product = None
    elif product is None and existing_only and is_sku(line.sku):
        line.problems.append(stock.ProductNotFound(line.sku))
    if product is None:
        # `stock` refuses an empty name.
        line.set_change(stock.NewProduct, **{"name": "", "reason": "import", **values})
        return line
    if values.pop("quantity", product.quantity) != product.quantity:
        line.problems.append(_quantity_not_editable(product))
    line.set_change(stock.Edit, **values)
    if isinstance(line.change, stock.Edit) and not changed_fields(line.change, product):
        line.change = None
    return line


def changed_fields(edit: stock.Edit, product: Product) -> list[tuple[str, Any, Any]]:
    """Return the label, the current value and the new value of each field that an edit changes."""
    edited = [
        ("Name", product.name, edit.name),
        ("Description", product.description, edit.description),
        ("Minimum", product.minimum_stock_level, edit.minimum_stock_level),
        ("Archived", product.archived, edit.archived),
    ]
    return [each for each in edited if each[2] not in (None, each[1])]


NEW, CHANGED, UNCHANGED = "new", "changed", "unchanged"
ARCHIVED, RESTORED, STILL_ARCHIVED = "archived", "restored", "changed, still archived"

EFFECTS = (NEW, CHANGED, UNCHANGED, ARCHIVED, RESTORED, STILL_ARCHIVED)
"""The effects of rows of products, in the order of reports.

Each row has one of the first three. A row may also have one of the others.
"""


def effects_of(line: FileLine, product: Product | None) -> tuple[str, ...]:
    """Return the effects of a row on `product`, before it is applied. A refused row has none."""
    if line.problems:
        return ()
    match line.change:
        case stock.NewProduct() as new:
            return (NEW, ARCHIVED) if new.archived else (NEW,)
        case stock.Edit() as edit if product:
            if edit.archived not in (None, product.archived):
                return CHANGED, ARCHIVED if edit.archived else RESTORED
            return (CHANGED, STILL_ARCHIVED) if product.archived else (CHANGED,)
    return (UNCHANGED,)


def tally_of(effects: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return each effect with its number of rows. The first three are always included."""
    always = (NEW, CHANGED, UNCHANGED)
    return [(name, effects.get(name, 0)) for name in EFFECTS if effects.get(name) or name in always]


def _quantity_not_editable(product: Product) -> stock.Invalid:
    detail = (
        f"{product.sku} already exists with {product.quantity} on hand. Ignore the column "
        "quantity, or leave this cell empty. To change the stock on hand, import an adjustment."
    )
    return stock.Invalid("quantity", detail)


def repeated(line: FileLine, first: FileLine) -> stock.StockError:
    """Return the problem of a line whose SKU is on an earlier line, maybe in another case."""
    detail = f"{line.sku} is already on line {first.number}. Delete one of the two."
    if line.sku == first.sku:
        return stock.Invalid("sku", detail)
    return stock.DuplicateSku(line.sku, existing=first.sku, on_line=first.number)


def duplicate(line: FileLine, product: Product) -> stock.DuplicateSku:
    """Return the problem of a new product whose SKU is that of `product`, maybe in another case."""
    return stock.DuplicateSku(line.sku, existing=product.sku, is_archived=product.archived)
