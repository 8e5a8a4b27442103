"""Imports from CSV and XLSX, with a preview. All changes of a file are applied, or none.

The preview changes no stock. It stores its changes in a `PendingImport`. Confirming it applies
them in one call of `stock`, which checks them again. A count or an edit whose value before the
change is no longer the one in the preview is refused, and the preview is shown again. See ADR 9.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from products import stock
from products.admin.base import InventoryAdmin, actor_of, once_for
from products.admin.imports.kinds import IMPORTS, TEMPLATES, Import
from products.admin.undoing import tag_of_request
from products.db.clock import SecondsFromNow
from products.files.adjustments import OPERATION_TYPES
from products.files.cells import Row, UnreadableFile, hash_of
from products.files.formats import CONTENT_TYPES, template
from products.files.lines import AnyChange, FileLine
from products.files.selection import InvalidChoice
from products.files.xlsx import MAX_FILE_BYTES, read
from products.models import MIN_CLAIM_HOURS, ImportedFile, PendingImport, StockEvent
from products.validators import format_time, parse_time

_TYPES: dict[str, type[AnyChange]] = {
    **OPERATION_TYPES,
    **{change.__name__: change for change in (stock.NewProduct, stock.Edit)},
}

KEPT_FOR_SECONDS = MIN_CLAIM_HOURS * 60 * 60
"""How long a preview can be confirmed. Claims, which prevent a second import, are kept as long."""

WRONG_LINES_NAMED = 10


def keep_pending(
    kind: Import,
    lines: Iterable[FileLine],
    *,
    user: Any,
    notes: Sequence[str] = (),
    content_hash: str = "",
    draft: str = "",
) -> PendingImport:
    """Store a preview until it is confirmed. Delete previews that have expired.

    An earlier preview of the same draft is deleted, too, so that only one can be confirmed.
    """
    if draft:
        PendingImport.objects.filter(user=user, kind=kind.name, draft=draft).delete()
    PendingImport.objects.filter(created_at__lt=SecondsFromNow(-KEPT_FOR_SECONDS)).delete()
    changes = [
        [line.number, type(line.change).__name__, _values_of(line.change), line.shown]
        for line in lines
        if line.change
    ]
    return PendingImport.objects.create(
        user=user,
        kind=kind.name,
        changes=changes,
        notes=list(notes),
        content_hash=content_hash,
        draft=draft,
    )


def claim_key_of(kind: Import, draft: str) -> str:
    """Return the idempotency key of entered lines. All previews of a draft have one key."""
    return f"{kind.name} {draft}"


def _last_event_of(kind: Import, content_hash: str) -> StockEvent | None:
    """Return the last event of the latest import of these cells."""
    if not content_hash:  # A preview of an earlier version has none.
        return None
    imported = ImportedFile.objects.filter(content_hash=content_hash, kind=kind.name)
    requests = imported.exclude(request_id="").values("request_id")
    events = StockEvent.objects.filter(source=StockEvent.Source.ADMIN, request_id__in=requests)
    # SQLite uses a partial index only if the query repeats the condition of the index.
    return events.exclude(request_id="").order_by("-pk").first()


def _lines_of(pending: PendingImport) -> list[FileLine]:
    return [
        FileLine(number, values["sku"], _change_of(type_name, values), shown=dict(*shown))
        # Earlier versions stored no shown values.
        for number, type_name, values, *shown in pending.changes
    ]


def _values_of(change: AnyChange) -> dict[str, Any]:
    """Return the values of a change, for JSON."""
    values = dataclasses.asdict(change)
    if values.get("counted_at"):
        values["counted_at"] = format_time(values["counted_at"])
    return values


def _change_of(type_name: str, values: Mapping[str, Any]) -> AnyChange:
    if values.get("counted_at"):
        values = {**values, "counted_at": parse_time(values["counted_at"])}
    return _TYPES[type_name](**values)


def _as_shown(line: FileLine) -> AnyChange | None:
    """Return the change of a line, to be refused if a value has changed since the preview."""
    match line.change:
        case stock.Adjust(counted_at=None) as count:
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
            ("template/<slug:name>.<slug:file_format>", self.template_view, "template"),
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
            return self.show_page(request, kind, form=form)
        try:
            content = form.cleaned_data["file"].read(MAX_FILE_BYTES + 1)
            sheet = read(content, select=form.select, sheet=form.cleaned_data["sheet"])
        except UnreadableFile as error:
            field = error.field if isinstance(error, InvalidChoice) else ""
            form.add_error(field or "file", str(error))
            return self.show_page(request, kind, form=form)
        picks = [(row, sheet.selection.pick(row)) for row in sheet.rows]
        rows = [pick for _, pick in picks if isinstance(pick, Row)]
        lines = kind.lines(rows, sheet.selection.columns, form.cleaned_data)
        lines += [
            FileLine(row.line, "", passed_over=pick)
            for row, pick in picks
            if not isinstance(pick, Row)
        ]
        lines.sort(key=lambda line: line.number)
        return self.show_preview(
            request, kind, lines, notes=sheet.notes, content_hash=hash_of(rows)
        )

    def template_view(self, request: HttpRequest, name: str, file_format: str) -> HttpResponse:
        """Send an empty file to fill in."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if name not in TEMPLATES or file_format not in CONTENT_TYPES:
            raise Http404
        response = HttpResponse(
            template(TEMPLATES[name], file_format), content_type=CONTENT_TYPES[file_format]
        )
        response["Content-Disposition"] = f'attachment; filename="{name}.{file_format}"'
        return response

    def confirm_view(self, request: HttpRequest, name: str, pk: int) -> HttpResponse:
        """Apply the changes of a preview of a file."""
        return self.confirm(request, _kind(request, name), pk)

    def confirm(
        self, request: HttpRequest, kind: Import, pk: int, *, draft: str = "", **context: Any
    ) -> HttpResponse:
        """Apply the changes of a preview, all or none, and only once.

        `draft` is the id of entered lines in the browser. `context` is for the preview that is
        shown if they are refused.
        """
        user: Any = request.user
        oldest = SecondsFromNow(-KEPT_FOR_SECONDS)
        unexpired = PendingImport.objects.filter(created_at__gte=oldest)
        pending = unexpired.filter(pk=pk, kind=kind.name, user=user).first()
        if pending is None:
            return self._not_pending(request, kind)
        lines = _lines_of(pending)
        by = actor_of(request)
        key = claim_key_of(kind, pending.draft) if pending.draft else f"import {pk}"
        once = once_for(by, key, lambda _: kind.done(lines))
        # Written before, so that it is not lost if the process dies.
        ImportedFile.objects.create(
            kind=kind.name, content_hash=pending.content_hash, request_id=by.request_id
        )
        try:
            response = kind.apply([_as_shown(line) for line in lines], by=by, once=once)
        except stock.StockError as refusal:
            for index, problem in refusal.lines:
                if isinstance(problem, stock.QuantityChanged | stock.ProductChanged):
                    # The new preview shows the new value, and can be confirmed.
                    lines[index].moved = problem.detail
                else:
                    lines[index].problems.append(problem)
            return self.show_preview(
                request,
                kind,
                lines,
                refused=pending,
                notes=pending.notes,
                content_hash=pending.content_hash,
                draft=pending.draft,
                **context,
            )
        pending.delete()
        if response.is_replay:
            return self._not_pending(request, kind)
        tag = tag_of_request(by) if kind.can_be_undone else ""
        messages.success(request, str(response.body, "utf-8"), extra_tags=tag)
        return redirect(kind.url_after(draft))

    def _not_pending(self, request: HttpRequest, kind: Import) -> HttpResponse:
        messages.warning(
            request,
            "This import was already applied, or its preview has expired. Check the ledger."
            if kind.is_file
            else "These lines were already saved, or their preview has expired. Check the ledger.",
        )
        return redirect(kind.url)

    def show_preview(
        self,
        request: HttpRequest,
        kind: Import,
        lines: Sequence[FileLine],
        *,
        refused: PendingImport | None = None,
        notes: Sequence[str],
        content_hash: str,
        draft: str = "",
        **context: Any,
    ) -> HttpResponse:
        """Show the changes of a file. `refused` is an earlier preview that was not confirmed."""
        rows = kind.preview(lines, by=actor_of(request))
        wrong = [line.number for line in lines if line.problems]
        changes = sum(line.change is not None for line in lines)
        pending = None
        if changes and not wrong:
            pending = keep_pending(
                kind,
                lines,
                user=request.user,
                notes=notes,
                content_hash=content_hash,
                draft=draft,
            )
            if refused:
                # Otherwise both could be confirmed.
                refused.delete()
        return self.show_page(
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
            unlikely=[row.line.number for row in rows if row.warning],
            notes=notes,
            pending=pending,
            earlier=_last_event_of(kind, content_hash) if pending else None,
            confirm_url=pending and kind.confirm_url(pending.pk),
            **context,
        )

    def show_page(self, request: HttpRequest, kind: Import, **context: Any) -> HttpResponse:
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
