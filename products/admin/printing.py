"""A filtered list on paper: a plain table of all its rows."""

from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.views import ChangeList

from products.admin.exporting import ExportableList, ExportAdmin, ExportedList
from products.files.exports import PRINTED_PRODUCTS, PRODUCT_EXPORT, ExportColumns

MAX_PRINTED = 1_000


class PrintableList(ExportableList):
    """List with export links and a link to its print view."""

    def print_link(self) -> str:
        admin: PrintAdmin = self.model_admin
        url = reverse(f"admin:{admin.print_url_name}")
        return url + str(self.get_query_string())


class PrintAdmin(ExportAdmin):
    """Prints the filtered list for anyone who may view it."""

    printed_columns: ClassVar[ExportColumns]
    """The columns by their headings."""

    @property
    def print_url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_print"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.print_view)
        return [path("print/", view, name=self.print_url_name), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        match = request.resolver_match
        if match is not None and match.url_name == self.print_url_name:
            return ExportedList
        found = super().get_changelist(request, **kwargs)
        return PrintableList if found is ExportableList else found

    def print_view(self, request: HttpRequest) -> HttpResponse:
        """Show the first `MAX_PRINTED` rows of the list as a page to print."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            messages.error(request, "A filter is not valid. Reset the filters and try again.")
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        rows = changelist.queryset.values_list(*self.printed_columns.values())
        found = list(rows[: MAX_PRINTED + 1])
        context = {
            "title": self.opts.verbose_name_plural,
            "chips": changelist.chips(),
            "headers": list(self.printed_columns),
            "rows": found[:MAX_PRINTED],
            "limit": MAX_PRINTED if len(found) > MAX_PRINTED else None,
            "now": timezone.localtime(),
        }
        return TemplateResponse(request, "products/admin/print.html", context)


class ProductExportAdmin(PrintAdmin):
    exported_columns = PRODUCT_EXPORT
    export_name = "Product"
    printed_columns = PRINTED_PRODUCTS
