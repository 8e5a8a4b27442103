"""Imports from CSV and XLSX: read, shown before anything is written, made whole or not at all.

The preview only reads. What it has shown is kept in a `PendingImport`, and confirming makes those
changes in one call of `stock`, which decides anew.
"""

import dataclasses
from collections.abc import Iterable, Sequence
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
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from products import stock
from products.admin.base import InventoryAdmin, actor_of, once_for
from products.db.clock import SecondsFromNow
from products.files.changes import (
    ADJUSTMENT_COLUMNS,
    DERIVED_COLUMNS,
    PRODUCT_COLUMNS,
    AnyChange,
    FileLine,
    adjustment_line,
    changed_fields,
    product_line,
    repeated,
)
from products.files.rows import Columns, Row, UnreadableFile
from products.files.xlsx import MAX_FILE_BYTES, MAX_ROWS, read
from products.models import MIN_CLAIM_HOURS, PendingImport, Product
from products.validators import MAX_NOTE_LENGTH, is_sku

_TYPES: dict[str, type[AnyChange]] = {
    change.__name__: change
    for change in (stock.Add, stock.Remove, stock.Adjust, stock.NewProduct, stock.Edit)
}

KEPT_FOR_SECONDS = MIN_CLAIM_HOURS * 60 * 60
"""How long a preview can be confirmed. No longer than the claim of its confirmation is kept."""


WRONG_LINES_NAMED = 10


class FieldChange(NamedTuple):
    """What a line changes, before and after."""

    name: str
    before: Any
    after: Any


class PreviewRow(NamedTuple):
    """A line as it is shown."""

    line: FileLine
    label: str
    differences: list[FieldChange]
    note: str = ""


class ImportForm(forms.Form):
    """A file to import."""

    file = forms.FileField(
        label="File",
        help_text=f"CSV (UTF-8; comma, semicolon or tab) or XLSX, up to {MAX_ROWS:,} rows and "
        f"{MAX_FILE_BYTES // 1024 // 1024} MiB. Larger ones are for manage.py import_products and "
        "bulk_adjust.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.xlsx"}),
    )


class AdjustmentImportForm(ImportForm):
    """A file of adjustments, with a reason for all that give none."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_NOTE_LENGTH,
        help_text="For rows that give no reason of their own. A count needs one.",
        widget=UnfoldAdminTextInputWidget,
    )


class Import:
    """A kind of import: its columns, what its rows mean, and how they are carried out."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    columns: ClassVar[Columns]
    permissions: ClassVar[Sequence[str]]
    form_class: ClassVar[type[ImportForm]] = ImportForm

    def lines(self, rows: Sequence[Row], *, reason: str) -> list[FileLine]:
        """Return what the rows of a file ask for; `reason` stands where a row has none."""
        raise NotImplementedError

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        """Return what the lines would change now, and note at each what refuses it."""
        raise NotImplementedError

    def carry_out(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.KeptAnswer]
    ) -> Any:
        """Make all changes or none, once. Raises `stock.StockError`, with every refused line."""
        raise NotImplementedError


class ProductImport(Import):
    name = "products"
    title = "Import products"
    help = (
        "A SKU that is new becomes a product, with its opening stock. Of one that exists, the "
        "name, the description and the minimum are changed; an empty cell leaves them as they are."
    )
    columns = Columns(known=PRODUCT_COLUMNS, required=("sku",), ignored=DERIVED_COLUMNS)
    permissions = ("products.add_product", "products.change_product")

    def lines(self, rows: Sequence[Row], *, reason: str) -> list[FileLine]:
        products = _products(str(row.cells.get("sku")) for row in rows)
        lines = [product_line(row, products.get(str(row.cells.get("sku")))) for row in rows]
        first_of_sku: dict[str, int] = {}
        for line in lines:
            first = first_of_sku.setdefault(line.sku, line.number)
            if line.sku and first != line.number:
                line.problems.append(repeated(line, first))
        return lines

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        products = _products(line.sku for line in lines)
        return [self._row(line, products.get(line.sku)) for line in lines]

    def _row(self, line: FileLine, product: Product | None) -> PreviewRow:
        match line.change:
            case stock.NewProduct() as new:
                if product and not line.problems:
                    line.problems.append(stock.DuplicateSku(line.sku))
                return PreviewRow(line, "New", _description_of(new))
            case stock.Edit() as edit if product:
                return PreviewRow(line, "Changed", _edits(edit, product))
        return PreviewRow(line, "" if line.problems else "As it is", [])

    def carry_out(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.KeptAnswer]
    ) -> Any:
        return stock.save_products(changes, by=by, once=once)


def _products(skus: Iterable[str]) -> dict[str, Product]:
    found = Product.objects.filter(sku__in={sku for sku in skus if is_sku(sku)})
    return {product.sku: product for product in found}


def _description_of(new: stock.NewProduct) -> list[FieldChange]:
    told = [FieldChange("Name", "", new.name), FieldChange("On hand", "", new.quantity)]
    if new.minimum_stock_level:
        told.append(FieldChange("Minimum", "", new.minimum_stock_level))
    if new.description:
        told.append(FieldChange("Description", "", new.description))
    return told


def _edits(edit: stock.Edit, product: Product) -> list[FieldChange]:
    return [FieldChange(*each) for each in changed_fields(edit, product)]


class AdjustmentImport(Import):
    name = "adjustments"
    title = "Import adjustments"
    help = (
        "Each row has one of “add” (units come in), “remove” (units go out) and “quantity” (units "
        "were counted), and is carried out in the order of the file. With “expected_quantity”, a "
        "count is refused if that is not what is on hand."
    )
    columns = Columns(known=ADJUSTMENT_COLUMNS, required=("sku",))
    permissions = ("products.adjust_stock", "products.operate_stock")
    form_class = AdjustmentImportForm

    def lines(self, rows: Sequence[Row], *, reason: str) -> list[FileLine]:
        return [adjustment_line(row, reason=reason) for row in rows]

    def preview(self, lines: Sequence[FileLine], *, by: stock.Actor) -> list[PreviewRow]:
        sound = [line for line in lines if line.change and not line.problems]
        operations: list[Any] = [line.change for line in sound]
        outcomes = dict(zip(map(id, sound), stock.preview(operations, by=by), strict=True))
        return [self._row(line, outcomes.get(id(line))) for line in lines]

    def _row(
        self, line: FileLine, outcome: stock.LevelChange | stock.StockError | None
    ) -> PreviewRow:
        if isinstance(outcome, stock.StockError):
            line.problems.append(outcome)
        label, note = "", ""
        if isinstance(line.change, stock.Operation):
            label, note = _asked(line.change), _note_of(line.change)
        if not isinstance(outcome, stock.LevelChange):
            return PreviewRow(line, label, [], note)
        before, after = outcome
        differences = [
            FieldChange("On hand", before.quantity, after.quantity),
            FieldChange("Available", before.available_quantity, after.available_quantity),
        ]
        return PreviewRow(line, label, differences, note)

    def carry_out(
        self, changes: Sequence[Any], *, by: stock.Actor, once: stock.Once[stock.KeptAnswer]
    ) -> Any:
        return stock.apply(changes, by=by, once=once)


def _asked(operation: stock.Operation) -> str:
    match operation:
        case stock.Add():
            return f"Add {operation.amount}"
        case stock.Remove():
            return f"Remove {operation.amount}"
        case stock.Adjust():
            return f"Set to {operation.quantity}"
    return ""


def _note_of(operation: stock.Operation) -> str:
    return " · ".join(note for note in (operation.reason, operation.reference) if note)


IMPORTS: dict[str, Import] = {kind.name: kind for kind in (ProductImport(), AdjustmentImport())}


def keep_pending(kind: Import, lines: Iterable[FileLine], *, user: Any) -> PendingImport:
    """Keep what was previewed until it is confirmed, and forget what nobody has confirmed."""
    PendingImport.objects.filter(created_at__lt=SecondsFromNow(-KEPT_FOR_SECONDS)).delete()
    changes = [
        [line.number, type(line.change).__name__, dataclasses.asdict(line.change)]
        for line in lines
        if line.change
    ]
    return PendingImport.objects.create(user=user, kind=kind.name, changes=changes)


def _lines_of(pending: PendingImport) -> list[FileLine]:
    return [
        FileLine(number, values["sku"], _TYPES[type_name](**values))
        for number, type_name, values in pending.changes
    ]


class ImportAdmin(InventoryAdmin):
    """The pages of the imports, for the admin of products."""

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
        """Offer the imports that the person may make."""
        allowed = [kind for kind in IMPORTS.values() if request.user.has_perms(kind.permissions)]
        return super().changelist_view(request, {**(extra_context or {}), "imports": allowed})

    def import_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Take a file and show what it would change."""
        kind = _kind(request, name)
        form = kind.form_class(request.POST or None, request.FILES or None)
        if not form.is_valid():
            return self._page(request, kind, form=form)
        try:
            content = form.cleaned_data["file"].read(MAX_FILE_BYTES + 1)
            rows = read(content, columns=kind.columns)
        except UnreadableFile as error:
            form.add_error("file", str(error))
            return self._page(request, kind, form=form)
        lines = kind.lines(rows, reason=form.cleaned_data.get("reason", ""))
        return self._preview(request, kind, lines)

    def confirm_view(self, request: HttpRequest, name: str, pk: int) -> HttpResponse:
        """Make the changes that were previewed, all or none, and once."""
        kind = _kind(request, name)
        user: Any = request.user
        oldest = SecondsFromNow(-KEPT_FOR_SECONDS)
        young = PendingImport.objects.filter(created_at__gte=oldest)
        pending = young.filter(pk=pk, kind=name, user=user).first()
        if pending is None:
            return self._done_already(request, kind)
        lines = _lines_of(pending)
        rows = f"{len(lines):,} row{pluralize(lines)}"
        by = actor_of(request)
        once = once_for(by, f"import {pk}", lambda _: f"{kind.title}: {rows} carried out.")
        try:
            answer = kind.carry_out([line.change for line in lines], by=by, once=once)
        except stock.StockError as refusal:
            for index, problem in refusal.lines:
                lines[index].problems.append(problem)
            return self._preview(request, kind, lines, refused=True)
        pending.delete()
        if answer.is_replay:
            return self._done_already(request, kind)
        messages.success(request, str(answer.body, "utf-8"))
        return redirect("admin:products_product_changelist")

    def _done_already(self, request: HttpRequest, kind: Import) -> HttpResponse:
        messages.warning(request, "This import was carried out already, or is too old.")
        return redirect("admin:products_product_import", kind.name)

    def _preview(
        self,
        request: HttpRequest,
        kind: Import,
        lines: Sequence[FileLine],
        *,
        refused: bool = False,
    ) -> HttpResponse:
        rows = kind.preview(lines, by=actor_of(request))
        wrong = [line.number for line in lines if line.problems]
        changes = sum(line.change is not None for line in lines)
        pending = None
        if changes and not wrong:
            pending = keep_pending(kind, lines, user=request.user)
        return self._page(
            request,
            kind,
            rows=rows,
            changes=changes,
            wrong=len(wrong),
            wrong_lines=wrong[:WRONG_LINES_NAMED],
            refused=refused,
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
