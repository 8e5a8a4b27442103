"""The kinds of entered lines: deliveries and counts.

They are previewed and applied like an import of stock changes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast
from urllib.parse import urlencode

from django.template.defaultfilters import pluralize
from django.urls import reverse

from products import stock
from products.admin.dialogs import is_unlikely
from products.admin.entry.forms import CountForm, LinesForm, ReceiveForm
from products.admin.imports.kinds import AdjustmentImport, Options, PreviewRow
from products.files.adjustments import COLUMN_OF, WITHOUT_AMOUNT, adjustment_line
from products.files.cells import Row
from products.files.columns import Columns
from products.files.lines import FileLine, sku_of
from products.files.products import products_of
from products.files.similar import similar_skus
from products.models import Product
from products.validators import is_sku

NOT_COUNTED = "not counted"

UNSHARED: Options = {"reason": "-", "reference": "", "counted_at": None}
"""What holds for lines that are only checked."""


class Entry(AdjustmentImport):
    """Lines that a user enters on a page."""

    is_file = False
    form_template = "products/admin/entry.html"
    amount_label: ClassVar[str]
    shows_available: ClassVar[bool] = False
    """Whether the page shows the available units of each product, and not its levels."""
    entry_form: ClassVar[type[LinesForm]]

    @property
    def column(self) -> str:
        """Our name of the column of the numbers."""
        return COLUMN_OF[self.entry_form.operation]

    @property
    def url(self) -> str:
        return reverse(f"admin:products_product_{self.name}")

    @property
    def check_url(self) -> str:
        """The URL that checks lines while they are entered."""
        return reverse(f"admin:products_product_{self.name}_check")

    @property
    def print_url(self) -> str:
        """The URL that shows the lines as a sheet to print. Empty if there is none."""
        return ""

    def confirm_url(self, pk: int) -> str:
        return reverse(f"admin:products_product_{self.name}_confirm", args=[pk])

    def url_after(self, draft: str) -> str:
        # The browser then forgets the draft.
        return f"{self.url}?{urlencode({'done': draft})}"

    def lines(self, rows: Sequence[Row], columns: Columns, options: Options) -> list[FileLine]:
        products = products_of(map(sku_of, rows))
        lines = [self._line(_with_own_sku(row, products), columns, options) for row in rows]
        unknown = [line for line in lines if is_sku(line.sku) and line.sku.upper() not in products]
        similar = similar_skus([line.sku for line in unknown])
        for line in unknown:
            problem = stock.ProductNotFound(line.sku)
            if other := similar.get(line.sku):
                problem.detail = f"{problem.detail} Did you mean {other}?"
            line.change = None
            line.problems.insert(0, problem)
        return lines

    def _line(self, row: Row, columns: Columns, options: Options) -> FileLine:
        line = adjustment_line(
            row, columns, reason=options["reason"], reference=options["reference"]
        )
        if line.passed_over == WITHOUT_AMOUNT:
            detail = "Enter the number of units, or delete the line."
            return FileLine(row.line, sku_of(row), problems=[stock.Invalid(self.column, detail)])
        return line


def _with_own_sku(row: Row, products: Mapping[str, Product]) -> Row:
    """Return a row with the SKU as the product has it. Users and scanners may change its case."""
    product = products.get(sku_of(row).upper())
    return row._replace(cells={**row.cells, "sku": product.sku}) if product else row


class Receive(Entry):
    name = "receive"
    title = "Receive"
    submit = "Receive"
    help = "Adds the units of a delivery to the stock on hand."
    permissions = ("products.view_product", "products.operate_stock")
    amount_label = "Received"
    entry_form = ReceiveForm
    templates = ("deliveries",)

    def done(self, lines: Sequence[FileLine]) -> str:
        units = sum(cast(stock.Add, line.change).amount for line in lines)
        products = len({line.sku for line in lines})
        return (
            f"Received {units:,} unit{pluralize(units)} of "
            f"{products:,} product{pluralize(products)}."
        )


class Count(Entry):
    name = "count"
    title = "Count"
    submit = "Save counts"
    help = (
        "Sets the stock on hand to what you counted, including reserved units. A product without "
        "a count stays unchanged."
    )
    permissions = ("products.view_product", "products.adjust_stock")
    amount_label = "Counted"
    entry_form = CountForm
    templates = ("counts",)

    @property
    def print_url(self) -> str:
        return reverse("admin:products_product_count_print")

    def lines(self, rows: Sequence[Row], columns: Columns, options: Options) -> list[FileLine]:
        lines = super().lines(rows, columns, options)
        first: dict[str, FileLine] = {}
        for line in lines:
            if line.is_count and first.setdefault(line.sku, line) is not line:
                where = f"on line {first[line.sku].number}"
                problem = stock.RepeatedCount(line.sku, where, "Delete one of the counts.")
                line.problems.append(problem)
        return lines

    def _line(self, row: Row, columns: Columns, options: Options) -> FileLine:
        if options["counted_at"]:
            # A late count allows for changes since then.
            others = {name: cell for name, cell in row.cells.items() if name != "expected_quantity"}
            row = row._replace(cells=others)
        line = adjustment_line(
            row,
            columns,
            reason=options["reason"],
            reference=options["reference"],
            counted_at=options["counted_at"],
        )
        if line.passed_over:
            line.passed_over = NOT_COUNTED
        return line

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        """Show which levels have changed since the user saw them. The user can confirm them."""
        seen: dict[int, int] = {}
        for line in lines:
            match line.change:
                case stock.Adjust(expected_quantity=int(expected)) as count:
                    seen[line.number] = expected
                    line.change = dataclasses.replace(count, expected_quantity=None)
        rows = super().preview(lines, by=by)
        for line in lines:
            now = line.shown.get("quantity")
            if now is not None and now != seen.get(line.number, now):
                line.moved = f"{now:,} on hand now, {seen[line.number]:,} when you saw it."
        return [_with_warning(row) for row in rows]

    def done(self, lines: Sequence[FileLine]) -> str:
        return f"Counted {len(lines):,} product{pluralize(lines)}."


def _with_warning(row: PreviewRow) -> PreviewRow:
    """Point out a count that may be a typing mistake."""
    match row.line.change, row.differences:
        case stock.Adjust(quantity=counted), [on_hand, *_] if is_unlikely(
            counted, on_hand=on_hand.before
        ):
            warning = f"{counted:,} counted, {on_hand.before:,} on hand. Check the count."
            return row._replace(warning=warning)
    return row


COUNT = Count()

ENTRIES: dict[str, Entry] = {kind.name: kind for kind in (Receive(), COUNT)}
