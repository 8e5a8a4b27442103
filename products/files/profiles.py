"""The layouts of the exports of other systems.

To add a system, add a profile to `PROFILES`, a file in its layout to
`products/tests/files/profiles`, and a line to `docs/how-to/import-a-shop.md`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

LOCATION = "{location}"
"""Stands for the name of a location in the name of a column."""


class Profile(NamedTuple):
    """The columns of the exports of a system, and the rows that are passed over.

    Of several names of a column, the first one in the header is read. Names of columns and values
    are compared without case and outer blanks.
    """

    title: str
    sku: Sequence[str]
    amount: Sequence[str]
    """Of several columns in the header, the first one that is filled in is read."""
    expected: Mapping[str, str] = {}
    """Maps a column of amounts to the column of the levels that its counts expect."""
    minimum: Sequence[str] = ()
    name: Sequence[str] = ()
    options: Sequence[str] = ()
    """Columns of a variant, such as its size. They are added to its name."""
    plain_options: Sequence[str] = ()
    """Values of options that are not added to a name."""
    handle: Sequence[str] = ()
    """A column that joins the rows of a product. Only its first row has the name."""
    location: Sequence[str] = ()
    """The column of the location, if each location has a row of its own."""
    locations_after: str = ""
    """Each column to the right of this one is a location, if `amount` has `{location}` alone."""
    without_amount: Mapping[str, str] = {}
    """Maps words in the place of an amount to why the row is passed over."""
    passed_over: Mapping[str, Mapping[str, str]] = {}
    """Maps a column and a value to why the row is passed over. Both may have `*` for any text."""


class Wanted(NamedTuple):
    """The columns that an import reads with a profile."""

    fields: Mapping[str, str]
    """Maps our names of columns to fields of a profile."""
    required: Collection[str]
    """Those of our names without which a file is refused."""


PROFILES: dict[str, Profile] = {
    "shopify": Profile(
        title="Shopify",
        sku=("Variant SKU", "SKU"),
        amount=(
            *("On hand (new)", "On hand (current)", "On hand"),
            *("Variant Inventory Qty", "Inventory quantity", LOCATION),
        ),
        expected={"On hand (new)": "On hand (current)"},
        name=("Title",),
        options=("Option1 Value", "Option2 Value", "Option3 Value"),
        plain_options=("Default Title",),
        handle=("Handle", "URL handle"),
        location=("Location",),
        locations_after="COO",
        without_amount={"not stocked": "not stocked"},
    ),
    "woocommerce": Profile(
        title="WooCommerce",
        sku=("SKU", "Artikelnummer", "Артикул"),
        amount=("Stock", "Lager", "Inventario", "Запасы"),
        minimum=(
            *("Low stock amount", "Geringe Lagermenge", "Cantidad de bajo inventario"),
            *("Малое количество на складе", "Величина малых запасов"),
        ),
        name=("Name", "Nombre", "Имя"),
        without_amount={"parent": "stock kept by the parent product"},
        passed_over={
            column: {"variable*": "variable product", "grouped*": "grouped product"}
            for column in ("Type", "Typ", "Tipo", "Тип")
        },
    ),
    "square": Profile(
        title="Square",
        sku=("SKU",),
        amount=(f"New Quantity {LOCATION}", f"Current Quantity {LOCATION}"),
        expected={f"New Quantity {LOCATION}": f"Current Quantity {LOCATION}"},
        minimum=(f"Stock Alert Count {LOCATION}",),
        name=("Item Name",),
        options=("Variation Name",),
        plain_options=("Regular",),
    ),
    "lightspeed": Profile(
        title="Lightspeed",
        sku=("sku",),
        amount=(f"inventory_{LOCATION}",),
        minimum=(f"reorder_point_{LOCATION}",),
        name=("name",),
        options=(
            *("variant_option_one_value", "variant_option_two_value"),
            "variant_option_three_value",
        ),
        plain_options=("Default", "Default Title"),
        handle=("handle",),
    ),
    "zoho": Profile(
        title="Zoho Inventory",
        sku=("SKU",),
        amount=("Stock On Hand", "Opening Stock"),
        minimum=("Reorder Point", "Reorder Level"),
        name=("Item Name",),
        # Its columns Warehouse Name and Location Name belong to the opening stock only.
    ),
    "odoo": Profile(
        title="Odoo",
        sku=(
            *("Product/Internal Reference", "product_id/default_code"),
            *("Internal Reference", "default_code"),
        ),
        amount=(
            *("Quantity On Hand", "On Hand Quantity", "qty_available"),
            *("Quantity", "quantity"),
        ),
        minimum=("Reordering Min Qty", "reordering_min_qty"),
        name=("Product/Name", "product_id/name", "Name", "name"),
        options=("Variant Values", "product_template_variant_value_ids"),
        location=("Location", "location_id"),
    ),
    "amazon": Profile(
        title="Amazon",
        sku=("seller-sku", "sku"),
        amount=("quantity", "Quantity Available", "afn-fulfillable-quantity"),
        name=("item-name", "product-name"),
        passed_over={
            "add-delete": {"d": "deleted", "x": "deleted"},
            "Warehouse-Condition-code": {"unsellable": "unsellable"},
        },
    ),
    "ebay": Profile(
        title="eBay",
        sku=("Custom label (SKU)", "CustomLabel", "Custom label"),
        amount=("Available quantity", "*Quantity", "Quantity"),
        name=("Title", "*Title"),
        options=("Variation details",),
        passed_over={
            "*Action(*": {"info": "info row", "end": "ended", "enditem": "ended"},
            "Variation details": {"*;*": "listing with variations"},
        },
    ),
}
