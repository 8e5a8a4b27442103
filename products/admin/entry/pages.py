"""Pages on which lines are typed, scanned or pasted: Receive and Count.

A page sends its lines as text. They are read, previewed and confirmed like those of a file.
"""

from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from products.admin.base import actor_of
from products.admin.entry.check import checked_response
from products.admin.entry.forms import LinesForm
from products.admin.entry.kinds import ENTRIES, Entry
from products.admin.imports.pages import ImportAdmin, claim_key_of
from products.files.cells import Row, hash_of
from products.models import IdempotencyKey


class EntryAdmin(ImportAdmin):
    """Entry pages of the product admin."""

    def get_urls(self) -> list[URLPattern]:
        pages = [
            ("", self.entry_view, ""),
            ("check/", require_POST(self.check_view), "_check"),
            ("<int:pk>/", require_POST(self.confirm_entry_view), "_confirm"),
        ]
        return [
            *(
                path(
                    f"{name}/{route}",
                    self.admin_site.admin_view(view),
                    {"name": name},
                    name=f"products_product_{name}{suffix}",
                )
                for name in ENTRIES
                for route, view, suffix in pages
            ),
            *super().get_urls(),
        ]

    def entry_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Show the page on which lines are entered, or a preview of the lines that it sends."""
        kind = entry_of(request, name)
        if request.method != "POST":
            return self.entry_page(request, kind, kind.entry_form())
        if "change" in request.POST:
            form = kind.entry_form(initial=request.POST.dict())
            return self.entry_page(request, kind, form, is_sent=True)
        form = kind.entry_form(request.POST)
        if not form.is_valid():
            return self.entry_page(request, kind, form, is_sent=True)
        rows, columns = form.cleaned_data["lines"]
        lines = kind.lines(rows, columns, form.cleaned_data)
        if all(line.passed_over for line in lines):
            form.add_error("lines", "Enter a number of units on at least one line.")
            return self.entry_page(request, kind, form, is_sent=True)
        shared = {field: form.cleaned_data[field] for field in ("reason", "reference")}
        return self.show_preview(
            request,
            kind,
            lines,
            notes=[f"{name.capitalize()}: {value}." for name, value in shared.items() if value],
            content_hash=hash_of([*rows, Row(0, shared)]),
            draft=self._unused(request, kind, form.cleaned_data["draft"].hex),
            posted=form.posted(),
        )

    def _unused(self, request: HttpRequest, kind: Entry, draft: str) -> str:
        """Return the id of a draft, or another one if its lines were already saved."""
        by = actor_of(request)
        claims = IdempotencyKey.objects.filter(source=by.source, caller=by.name)
        if not claims.filter(key=claim_key_of(kind, draft)).exists():
            return draft
        # The user went back in the browser. The lines may be new.
        messages.warning(
            request, "This page has already saved lines. Check that you do not save them twice."
        )
        return uuid4().hex

    def confirm_entry_view(self, request: HttpRequest, name: str, pk: int) -> HttpResponse:
        """Apply the changes of a preview of entered lines."""
        kind = entry_of(request, name)
        posted = kind.entry_form(request.POST).posted()
        return self.confirm(request, kind, pk, draft=dict(posted)["draft"], posted=posted)

    def check_view(self, request: HttpRequest, name: str) -> JsonResponse:
        """Return the products and the errors of lines while they are entered, as JSON."""
        return checked_response(request, entry_of(request, name))

    def entry_page(
        self, request: HttpRequest, kind: Entry, form: LinesForm, *, is_sent: bool = False
    ) -> HttpResponse:
        """Show a form. `is_sent` says that its lines come from the user, not from a draft."""
        return self.show_page(request, kind, form=form, is_sent=is_sent)


def entry_of(request: HttpRequest, name: str) -> Entry:
    """Return a kind of lines. Raises `PermissionDenied` if the user may not enter them."""
    kind = ENTRIES[name]
    if not request.user.has_perms(kind.permissions):
        raise PermissionDenied
    return kind
