"""Imports from CSV and XLSX, with a preview. All changes of a file are applied, or none.

The preview changes no stock. It stores its changes in a `PendingImport`. Confirming it applies
them in one call of `stock`, which checks them again. A count or an edit whose value before the
change is no longer the one in the preview is refused, and the preview is shown again. See ADR 9.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from products import stock
from products.admin.base import InventoryAdmin, actor_of, once_for
from products.db.clock import SecondsFromNow
from products.files.changes import (
    ADJUSTMENT_COLUMNS,
    CHANGED,
    MAPPED_COLUMNS,
    NEW,
    OPERATION_TYPES,
    STILL_ARCHIVED,
    UNCHANGED,
    WITHOUT_SKU,
    AnyChange,
    FileLine,
    adjustment_line,
    changed_fields,
    check_counts,
    columns_ignored_in_adjustments,
    effects_of,
    lacks_sku,
    product_columns,
    product_line,
    repeated,
    sku_of,
    tally_of,
)
from products.files.rows import Columns, Row, UnreadableFile, folded
from products.files.similar import refuse_similar
from products.files.xlsx import MAX_FILE_BYTES, MAX_ROWS, read
from products.models import MIN_CLAIM_HOURS, PendingImport, Product
from products.validators import MAX_NAME_LENGTH, MAX_NOTE_LENGTH, is_sku

_TYPES: dict[str, type[AnyChange]] = {
    **OPERATION_TYPES,
    **{change.__name__: change for change in (stock.NewProduct, stock.Edit)},
}

EDITED_FIELDS = ("name", "description", "minimum_stock_level", "archived")

KEPT_FOR_SECONDS = MIN_CLAIM_HOURS * 60 * 60
"""How long a preview can be confirmed. Claims, which prevent a second import, are kept as long."""

WRONG_LINES_NAMED = 10


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


class ImportForm(forms.Form):
    """A file to import."""

    file = forms.FileField(
        label="File",
        help_text=f"CSV (UTF-8, separated by commas, semicolons or tabs) or XLSX, up to "
        f"{MAX_ROWS:,} rows and {MAX_FILE_BYTES // 1024 // 1024} MiB. For a larger file, ask an "
        "administrator to run import_products or bulk_adjust.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.xlsx"}),
    )
    header_line = forms.IntegerField(
        required=False,
        min_value=1,
        help_text="The line that names the columns. The lines above it are skipped. If empty: the "
        "first line that is not empty.",
        widget=UnfoldAdminIntegerFieldWidget,
    )


def _column_field(label: str, more: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=MAX_NAME_LENGTH,
        help_text=f"Leave empty if the column has our name. {more}".strip(),
        widget=UnfoldAdminTextInputWidget,
    )


class ProductImportForm(ImportForm):
    """A file of products, and which of its rows and columns are read."""

    existing_only = forms.BooleanField(
        label="Existing products only",
        required=False,
        help_text="Refuses rows whose SKU does not exist.",
        widget=UnfoldBooleanWidget,
    )
    ignore_quantity = forms.BooleanField(
        label="Ignore the column quantity",
        required=False,
        help_text="For an export that was edited while stock changed. New products start with 0.",
        widget=UnfoldBooleanWidget,
    )
    allow_similar = forms.BooleanField(
        label="Allow similar SKUs",
        required=False,
        help_text="Creates a product although only leading zeros, an exponent or case distinguish "
        "its SKU from another, such as 00123 and 123, or 1E5 and 100000.",
        widget=UnfoldBooleanWidget,
    )
    ignore_other_columns = forms.BooleanField(
        label="Ignore other columns",
        required=False,
        help_text="For a file of another system. Name its columns in the fields below.",
        widget=UnfoldBooleanWidget,
    )
    sku_column = _column_field("The SKU is in column", "A row without a SKU is then passed over.")
    name_column = _column_field("The name is in column")
    description_column = _column_field("The description is in column")
    quantity_column = _column_field("The units on hand are in column")
    minimum_stock_level_column = _column_field("The minimum is in column")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        names = _names_in_file(cleaned)
        uses = Counter(map(folded, names.values()))
        for name, theirs in names.items():
            if uses[folded(theirs)] > 1:
                self.add_error(f"{name}_column", "Two fields name the same column. Correct one.")
        if cleaned.get("ignore_quantity") and "quantity" in names:
            self.add_error("quantity_column", "The column quantity is ignored. Leave this empty.")
        return cleaned


def _names_in_file(options: Mapping[str, Any]) -> dict[str, str]:
    """Map our names of columns to their names in the file."""
    names = {name: options.get(f"{name}_column") for name in MAPPED_COLUMNS}
    return {name: theirs for name, theirs in names.items() if theirs}


class AdjustmentImportForm(ImportForm):
    """A file of stock changes, with a default reason."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_NOTE_LENGTH,
        help_text="Used for rows without a reason. Every count needs a reason.",
        widget=UnfoldAdminTextInputWidget,
    )
    sum_repeated = forms.BooleanField(
        required=False,
        label="Add up repeated counts",
        help_text="For a file with a count of one product on several rows, such as one for each "
        "shelf. Without it, such a file is refused.",
        widget=UnfoldBooleanWidget,
    )
    ignore_other_columns = forms.BooleanField(
        label="Ignore other columns",
        required=False,
        help_text="For a file with more columns than those above.",
        widget=UnfoldBooleanWidget,
    )


Options = Mapping[str, Any]
"""The cleaned values of the form."""


class Import:
    """A kind of import. It reads, previews and applies the rows of a file."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    columns: ClassVar[Columns]
    permissions: ClassVar[Sequence[str]]
    form_class: ClassVar[type[ImportForm]] = ImportForm

    def columns_for(self, options: Options) -> Columns:
        """Return the columns that a file may have, with these values of the form."""
        return self.columns

    def lines(self, rows: Sequence[Row], options: Options) -> list[FileLine]:
        """Return the changes of a file. `options` says which of its rows and columns are read."""
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

    def columns_for(self, options: Options) -> Columns:
        return product_columns(
            ignore_quantity=options["ignore_quantity"],
            renamed=_names_in_file(options),
            allow_others=options["ignore_other_columns"],
        )

    def lines(self, rows: Sequence[Row], options: Options) -> list[FileLine]:
        columns = self.columns_for(options)
        products = _products(map(sku_of, rows))
        lines = [
            FileLine(row.line, "", passed_over=WITHOUT_SKU)
            if lacks_sku(row, columns)
            else product_line(
                row, products.get(sku_of(row)), existing_only=options["existing_only"]
            )
            for row in rows
        ]
        first_of_sku: dict[str, int] = {}
        for line in lines:
            first = first_of_sku.setdefault(line.sku, line.number)
            if line.sku and first != line.number:
                line.problems.append(repeated(line, first))
        if not options["allow_similar"]:
            refuse_similar(lines, products)
        return lines

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        products = _products(line.sku for line in lines)
        return [self._row(line, products.get(line.sku)) for line in lines]

    def tally(self, rows: Iterable[PreviewRow]) -> list[tuple[str, int]]:
        return tally_of(Counter(effect for row in rows for effect in row.effects))

    def _row(self, line: FileLine, product: Product | None) -> PreviewRow:
        match line.change:
            case stock.NewProduct() as new:
                if product and not line.problems:
                    line.problems.append(stock.DuplicateSku(line.sku))
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


def _products(skus: Iterable[str]) -> dict[str, Product]:
    found = Product.objects.filter(sku__in={sku for sku in skus if is_sku(sku)})
    return {product.sku: product for product in found}


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
    title = "Import stock changes"
    help = (
        "Each row fills in one of these columns: add (units received), remove (units taken out), "
        "quantity (units counted) or change (+3 adds, -3 removes). A row without an "
        "amount is passed over. Rows are applied in the order of the file. A file counts a "
        "product once. A count with an expected_quantity is refused if the units on hand differ "
        "from it."
    )
    columns = Columns(
        known=ADJUSTMENT_COLUMNS, required=("sku",), ignored=columns_ignored_in_adjustments()
    )
    permissions = ("products.adjust_stock", "products.operate_stock")
    form_class = AdjustmentImportForm

    def columns_for(self, options: Options) -> Columns:
        return self.columns._replace(allow_others=options["ignore_other_columns"])

    def lines(self, rows: Sequence[Row], options: Options) -> list[FileLine]:
        lines = [adjustment_line(row, reason=options["reason"]) for row in rows]
        check_counts(lines, adds_up=options["sum_repeated"])
        return lines

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        valid = [line for line in lines if line.change and not line.problems]
        operations: list[Any] = [line.change for line in valid]
        outcomes = dict(zip(map(id, valid), stock.preview(operations, by=by), strict=True))
        return [self._row(line, outcomes.get(id(line))) for line in lines]

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
        if isinstance(line.change, stock.Adjust):
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
        return f"Set to {operation.quantity}"
    return f"{type(operation).__name__} {getattr(operation, 'amount', '')}"


def _note_of(operation: stock.Operation) -> str:
    return " · ".join(note for note in (operation.reason, operation.reference) if note)


IMPORTS: dict[str, Import] = {kind.name: kind for kind in (ProductImport(), AdjustmentImport())}


def keep_pending(kind: Import, lines: Iterable[FileLine], *, user: Any) -> PendingImport:
    """Store a preview until it is confirmed. Delete previews that have expired."""
    PendingImport.objects.filter(created_at__lt=SecondsFromNow(-KEPT_FOR_SECONDS)).delete()
    changes = [
        [line.number, type(line.change).__name__, dataclasses.asdict(line.change), line.shown]
        for line in lines
        if line.change
    ]
    return PendingImport.objects.create(user=user, kind=kind.name, changes=changes)


def _lines_of(pending: PendingImport) -> list[FileLine]:
    return [
        FileLine(number, values["sku"], _TYPES[type_name](**values), shown=dict(*shown))
        # Earlier versions stored no shown values.
        for number, type_name, values, *shown in pending.changes
    ]


def _as_shown(line: FileLine) -> AnyChange | None:
    """Return the change of a line, to be refused if a value has changed since the preview."""
    match line.change:
        case stock.Adjust() as count:
            return dataclasses.replace(
                count, expected_quantity=line.shown.get("quantity", count.expected_quantity)
            )
        case stock.Edit() as edit:
            return dataclasses.replace(edit, expected=line.shown)
    return line.change


class ImportAdmin(InventoryAdmin):
    """Import pages of the product admin."""

    def get_urls(self) -> list[URLPattern]:
        pages = [
            ("import/<slug:name>/", self.import_view, "import"),
            ("import/<slug:name>/<int:pk>/", require_POST(self.confirm_view), "import_confirm"),
        ]
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=f"products_product_{name}")
                for route, view, name in pages
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show links to the imports that the user may run."""
        allowed = [kind for kind in IMPORTS.values() if request.user.has_perms(kind.permissions)]
        return super().changelist_view(request, {**(extra_context or {}), "imports": allowed})

    def import_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Read an uploaded file and show the preview."""
        kind = _kind(request, name)
        form = kind.form_class(request.POST or None, request.FILES or None)
        if not form.is_valid():
            return self._page(request, kind, form=form)
        try:
            content = form.cleaned_data["file"].read(MAX_FILE_BYTES + 1)
            header_line = form.cleaned_data["header_line"] or 0
            columns = kind.columns_for(form.cleaned_data)._replace(header_line=header_line)
            sheet = read(content, columns=columns)
        except UnreadableFile as error:
            form.add_error("file", str(error))
            return self._page(request, kind, form=form)
        lines = kind.lines(sheet.rows, form.cleaned_data)
        return self._preview(request, kind, lines, notes=sheet.notes)

    def confirm_view(self, request: HttpRequest, name: str, pk: int) -> HttpResponse:
        """Apply the changes of a preview, all or none, and only once."""
        kind = _kind(request, name)
        user: Any = request.user
        oldest = SecondsFromNow(-KEPT_FOR_SECONDS)
        unexpired = PendingImport.objects.filter(created_at__gte=oldest)
        pending = unexpired.filter(pk=pk, kind=name, user=user).first()
        if pending is None:
            return self._not_pending(request, kind)
        lines = _lines_of(pending)
        rows = f"{len(lines):,} row{pluralize(lines)}"
        by = actor_of(request)
        once = once_for(by, f"import {pk}", lambda _: f"Imported {rows}.")
        try:
            response = kind.apply([_as_shown(line) for line in lines], by=by, once=once)
        except stock.StockError as refusal:
            for index, problem in refusal.lines:
                if isinstance(problem, stock.QuantityChanged | stock.ProductChanged):
                    # The new preview shows the new value, and can be confirmed.
                    lines[index].moved = problem.detail
                else:
                    lines[index].problems.append(problem)
            return self._preview(request, kind, lines, refused=pending)
        pending.delete()
        if response.is_replay:
            return self._not_pending(request, kind)
        messages.success(request, str(response.body, "utf-8"))
        return redirect("admin:products_product_changelist")

    def _not_pending(self, request: HttpRequest, kind: Import) -> HttpResponse:
        messages.warning(
            request,
            "This import was already applied, or its preview has expired. Check the ledger.",
        )
        return redirect("admin:products_product_import", kind.name)

    def _preview(
        self,
        request: HttpRequest,
        kind: Import,
        lines: Sequence[FileLine],
        *,
        refused: PendingImport | None = None,
        notes: Sequence[str] = (),
    ) -> HttpResponse:
        """Show the changes of a file. `refused` is an earlier preview that was not confirmed."""
        rows = kind.preview(lines, by=actor_of(request))
        wrong = [line.number for line in lines if line.problems]
        changes = sum(line.change is not None for line in lines)
        pending = None
        if changes and not wrong:
            pending = keep_pending(kind, lines, user=request.user)
            if refused:
                # Otherwise both could be confirmed.
                refused.delete()
        return self._page(
            request,
            kind,
            rows=rows,
            tally=kind.tally(rows),
            changes=changes,
            passed_over=Counter(line.passed_over for line in lines if line.passed_over).items(),
            wrong=len(wrong),
            wrong_lines=wrong[:WRONG_LINES_NAMED],
            refused=refused is not None,
            moved=[line.number for line in lines if line.moved and not line.problems],
            notes=notes,
            pending=pending,
        )

    def _page(self, request: HttpRequest, kind: Import, **context: Any) -> HttpResponse:
        page = {
            **self.admin_site.each_context(request),
            "title": kind.title,
            "opts": self.opts,
            "kind": kind,
            **context,
        }
        return TemplateResponse(request, "products/admin/import.html", page)


def _kind(request: HttpRequest, name: str) -> Import:
    kind = IMPORTS.get(name)
    if kind is None:
        raise Http404
    if not request.user.has_perms(kind.permissions):
        raise PermissionDenied
    return kind
