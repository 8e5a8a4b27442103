"""The kinds of imports: how each reads, previews and applies the rows of a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone

from products import stock
from products.admin.imports.forms import (
    AdjustmentImportForm,
    ImportForm,
    ProductImportForm,
)
from products.files.adjustments import (
    COUNT_TEMPLATE,
    DELIVERY_TEMPLATE,
    adjustment_columns,
    adjustment_line,
    check_counts,
)
from products.files.cells import Row
from products.files.columns import Columns
from products.files.lines import WITHOUT_SKU, FileLine, lacks_sku, sku_of
from products.files.products import (
    CHANGED,
    NEW,
    PRODUCT_COLUMNS,
    STILL_ARCHIVED,
    UNCHANGED,
    changed_fields,
    duplicate,
    effects_of,
    product_columns,
    product_line,
    products_of,
    repeated,
    tally_of,
)
from products.files.similar import refuse_similar
from products.models import Product

EDITED_FIELDS = ("name", "description", "minimum_stock_level", "archived")


TEMPLATES: dict[str, Sequence[str]] = {
    "products": PRODUCT_COLUMNS,
    "deliveries": DELIVERY_TEMPLATE,
    "counts": COUNT_TEMPLATE,
}
"""The columns of empty files to fill in, by the name of the file."""


class FieldChange(NamedTuple):
    """A changed field, with its value before and after."""

    name: str
    before: Any
    after: Any


class PreviewRow(NamedTuple):
    """A line of the preview."""

    line: FileLine
    label: str
    differences: list[FieldChange]
    note: str = ""
    effects: Sequence[str] = ()
    """What the preview counts."""
    name: str = ""
    """The name of the product, if it exists."""
    warning: str = ""
    """What the user should check. It does not prevent the change."""


Options = Mapping[str, Any]
"""The cleaned values of the form."""


class Import:
    """A kind of import. It reads, previews and applies the rows of a file."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    columns: ClassVar[Columns]
    """The columns that a file may have if the form names no others."""
    permissions: ClassVar[Sequence[str]]
    form_class: ClassVar[type[ImportForm]] = ImportForm
    submit: ClassVar[str] = "Import"
    """The text of the button that confirms the preview."""
    is_file: ClassVar[bool] = True
    """Whether the rows are those of a file. Otherwise a user enters them on a page."""
    form_template: ClassVar[str] = "products/admin/import_form.html"
    can_be_undone: ClassVar[bool] = False
    """Whether the success message offers to undo all lines."""
    templates: ClassVar[Sequence[str]]
    """The names of the empty files to fill in, in `TEMPLATES`."""
    has_names: ClassVar[bool] = False
    """Whether the preview shows the names of the products beside their SKUs."""

    @property
    def url(self) -> str:
        """The page on which an import begins."""
        return reverse("admin:products_product_import", args=[self.name])

    def confirm_url(self, pk: int) -> str:
        """Return the URL that applies a preview."""
        return reverse("admin:products_product_import_confirm", args=[self.name, pk])

    def url_after(self, draft: str) -> str:
        """Return the page to show after an import. `draft` is the id of entered lines."""
        return reverse("admin:products_product_changelist")

    def lines(self, rows: Sequence[Row], columns: Columns, options: Options) -> list[FileLine]:
        """Return the changes of a file with these columns. `options` says which rows are read."""
        raise NotImplementedError

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        """Return the effect of each line on the current stock, and add errors to the lines."""
        raise NotImplementedError

    def tally(self, rows: Iterable[PreviewRow]) -> list[tuple[str, int]]:
        """Return figures that sum up the preview."""
        return []

    def apply(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.StoredResponse]
    ) -> Any:
        """Apply all changes or none. Raises `stock.StockError` with every refused line."""
        raise NotImplementedError

    def done(self, lines: Sequence[FileLine]) -> str:
        """Return the message after the changes of these lines."""
        return f"Imported {len(lines):,} row{pluralize(lines)}."


class ProductImport(Import):
    name = "products"
    title = "Import products"
    help = (
        "A new SKU creates a product with its opening stock. For an existing SKU, the name, the "
        "description and the minimum are changed. An empty cell leaves the value unchanged. The "
        "column archived archives a product (true) or restores it (false)."
    )
    columns = product_columns()
    permissions = ("products.add_product", "products.change_product")
    form_class = ProductImportForm
    templates = ("products",)

    def lines(self, rows: Sequence[Row], columns: Columns, options: Options) -> list[FileLine]:
        products = products_of(map(sku_of, rows))
        lines = [
            FileLine(row.line, "", passed_over=WITHOUT_SKU)
            if lacks_sku(row, columns)
            else product_line(
                row, products.get(sku_of(row).upper()), existing_only=options["existing_only"]
            )
            for row in rows
        ]
        first_of_sku: dict[str, FileLine] = {}
        for line in lines:
            first = first_of_sku.setdefault(line.sku.upper(), line)
            if line.sku and first is not line:
                line.problems.append(repeated(line, first))
        if not options["allow_similar"]:
            refuse_similar(lines, products)
        return lines

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        products = products_of(line.sku for line in lines)
        return [self._row(line, products.get(line.sku.upper())) for line in lines]

    def tally(self, rows: Iterable[PreviewRow]) -> list[tuple[str, int]]:
        return tally_of(Counter(effect for row in rows for effect in row.effects))

    def _row(self, line: FileLine, product: Product | None) -> PreviewRow:
        match line.change:
            case stock.NewProduct() as new:
                if product and not line.problems:
                    line.problems.append(duplicate(line, product))
                label, differences = NEW, _description_of(new)
            case stock.Edit() as edit if product:
                label, differences = CHANGED, _edits(edit, product)
                line.shown = {
                    field: getattr(product, field)
                    for field in EDITED_FIELDS
                    if getattr(edit, field) is not None
                }
            case _:
                label, differences = "" if line.problems else UNCHANGED, []
        if line.passed_over:
            return PreviewRow(line, f"Passed over: {line.passed_over}", [])
        effects = effects_of(line, product)
        if STILL_ARCHIVED in effects:
            label = STILL_ARCHIVED
        return PreviewRow(line, label.capitalize(), differences, effects=effects)

    def apply(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.StoredResponse]
    ) -> Any:
        return stock.save_products(changes, by=by, once=once)


def _description_of(new: stock.NewProduct) -> list[FieldChange]:
    fields = [FieldChange("Name", "", new.name), FieldChange("On hand", "", new.quantity)]
    if new.minimum_stock_level:
        fields.append(FieldChange("Minimum", "", new.minimum_stock_level))
    if new.description:
        fields.append(FieldChange("Description", "", new.description))
    if new.archived:
        fields.append(FieldChange("Archived", "", "yes"))
    return fields


def _edits(edit: stock.Edit, product: Product) -> list[FieldChange]:
    return [
        FieldChange(name, _shown(before), _shown(after))
        for name, before, after in changed_fields(edit, product)
    ]


def _shown(value: Any) -> Any:
    return ("no", "yes")[value] if isinstance(value, bool) else value


class AdjustmentImport(Import):
    name = "adjustments"
    has_names = can_be_undone = True
    title = "Import stock changes"
    help = (
        "Each row fills in one of these columns: add (units received), remove (units taken out), "
        "quantity (units counted) or change (+3 adds, -3 removes). A row without an "
        "amount is passed over. Rows are applied in the order of the file. A file counts a "
        "product once. A count with an expected_quantity is refused if the units on hand differ "
        "from it. A count with counted_at, such as 2026-11-20T18:00:00Z, was made at that time: "
        "later sales and deliveries are kept."
    )
    columns = adjustment_columns()
    permissions = ("products.adjust_stock", "products.operate_stock")
    form_class = AdjustmentImportForm
    templates: ClassVar[Sequence[str]] = ("deliveries", "counts")

    def lines(self, rows: Sequence[Row], columns: Columns, options: Options) -> list[FileLine]:
        defaults = {"reason": options["reason"], "counted_at": options["counted_at"]}
        lines = [adjustment_line(row, columns, **defaults) for row in rows]
        check_counts(lines, adds_up=options["sum_repeated"])
        return lines

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        valid = [line for line in lines if line.change and not line.problems]
        operations: list[Any] = [line.change for line in valid]
        outcomes = dict(zip(map(id, valid), stock.preview(operations, by=by), strict=True))
        products = products_of(line.sku for line in lines)
        names = {product.sku: product.name for product in products.values()}
        return [
            self._row(line, outcomes.get(id(line)))._replace(name=names.get(line.sku, ""))
            for line in lines
        ]

    def _row(
        self, line: FileLine, outcome: stock.LevelChange | stock.StockError | None
    ) -> PreviewRow:
        if isinstance(outcome, stock.StockError):
            line.problems.append(outcome)
        label, note = "", ""
        if isinstance(line.change, stock.Operation):
            label, note = _label_of(line.change), _note_of(line.change)
        elif line.added_to:
            label = f"Added to line {line.added_to}"
        elif line.passed_over:
            label = f"Passed over: {line.passed_over}"
        if not isinstance(outcome, stock.LevelChange):
            return PreviewRow(line, label, [], note)
        before, after = outcome
        if isinstance(line.change, stock.Adjust) and not line.change.counted_at:
            line.shown = {"quantity": before.quantity}
        differences = [
            FieldChange("On hand", before.quantity, after.quantity),
            FieldChange("Available", before.available_quantity, after.available_quantity),
        ]
        return PreviewRow(line, label, differences, note)

    def apply(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.StoredResponse]
    ) -> Any:
        return stock.apply(changes, by=by, once=once)


def _label_of(operation: stock.Operation) -> str:
    if isinstance(operation, stock.Adjust):
        if operation.counted_at:
            moment = timezone.localtime(operation.counted_at)
            return f"Counted {operation.quantity} at {moment:%Y-%m-%d %H:%M:%S} {moment:%Z}"
        return f"Set to {operation.quantity}"
    return f"{type(operation).__name__} {getattr(operation, 'amount', '')}"


def _note_of(operation: stock.Operation) -> str:
    return " · ".join(note for note in (operation.reason, operation.reference) if note)


IMPORTS: dict[str, Import] = {kind.name: kind for kind in (ProductImport(), AdjustmentImport())}
