"""The page that creates a product with its opening stock, and the links to it."""

from typing import Any, cast
from urllib.parse import urlencode
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from products import stock
from products.admin.base import InventoryAdmin, actor_of, link_to, once_for
from products.admin.dialogs import NoteField, WholeNumberField
from products.files.similar import describe_similar, similar_sku
from products.models import Product
from products.validators import (
    MAX_DESCRIPTION_LENGTH,
    MAX_NAME_LENGTH,
    MAX_SKU_LENGTH,
    SKU_DESCRIPTION,
    is_sku,
)

PRODUCT_FIELDS = ("sku", "name", "minimum_stock_level", "description")
OPENING_FIELDS = ("quantity", "reason", "reference")


class NewProductForm(forms.Form):
    """A product to create. It is created once, even if the form is sent again."""

    sku = forms.CharField(
        label="SKU",
        max_length=MAX_SKU_LENGTH,
        help_text=f"{SKU_DESCRIPTION} It cannot be changed later.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    allow_similar = forms.BooleanField(
        label="Create it anyway", required=False, widget=UnfoldBooleanWidget
    )
    name = forms.CharField(max_length=MAX_NAME_LENGTH, widget=UnfoldAdminTextInputWidget)
    description = forms.CharField(
        required=False,
        max_length=MAX_DESCRIPTION_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    minimum_stock_level = WholeNumberField(
        min_value=0,
        required=False,
        label="Minimum",
        help_text="With fewer available units, the product has low stock.",
    )
    quantity = WholeNumberField(
        min_value=0, required=False, label="On hand", help_text="Leave it empty for none."
    )
    reason = NoteField()
    reference = NoteField(help_text="For example, the number of a delivery note.")
    opening = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)

    similar_to: str | None = None
    """The SKU of a product that differs only by leading zeros or an exponent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first = "name" if self.initial.get("sku") else "sku"
        self.fields[first].widget.attrs["autofocus"] = True

    def main_fields(self) -> list[forms.BoundField]:
        """Return the fields that describe the product, for the template."""
        return [self[name] for name in PRODUCT_FIELDS]

    def opening_fields(self) -> list[forms.BoundField]:
        """Return the fields of the opening stock, for the template."""
        return [self[name] for name in OPENING_FIELDS]

    def values(self) -> dict[str, Any]:
        """Return the values of the new product."""
        fields = (*PRODUCT_FIELDS, *OPENING_FIELDS)
        given = {name: self.cleaned_data[name] for name in fields if name in self.cleaned_data}
        # An empty number is 0.
        return {name: 0 if value is None else value for name, value in given.items()}

    def clean(self) -> dict[str, Any]:
        for fault in stock.faults_of(stock.NewProduct, **self.values()):
            self.add_error(fault.field, fault.detail)
        sku = self.cleaned_data.get("sku")
        if sku and not self.cleaned_data.get("allow_similar"):
            self._refuse_similar(sku)
        return self.cleaned_data

    def _refuse_similar(self, sku: str) -> None:
        self.similar_to = similar_sku(sku)
        if self.similar_to and not Product.objects.with_skus([sku]).exists():
            self.add_error("sku", describe_similar(sku, self.similar_to))

    def apply(self, by: stock.Actor) -> stock.StoredResponse:
        """Create the product and return the success message. Raises `StockError`."""
        sku, opening = self.cleaned_data["sku"], self.cleaned_data["opening"].hex
        once = once_for(
            by,
            f"create {sku} {opening}",
            lambda product: f"Created {product.sku}. On hand: {product.quantity:,}.",
        )
        return cast(stock.StoredResponse, stock.create(**self.values(), by=by, once=once))

    def refuse(self, error: stock.StockError) -> None:
        """Show the error at its field. An existing product is linked."""
        if not isinstance(error, stock.DuplicateSku):
            field = getattr(error, "field", None)
            self.add_error(field if field in self.fields else None, error.detail)
            return
        existing = Product.objects.with_skus([self.cleaned_data["sku"]]).get()
        link = link_to(existing, f"Open {existing.sku}")
        self.add_error("sku", forms.ValidationError(format_html("{} {}", error.detail, link)))


class CreateAdmin(InventoryAdmin):
    """The page that creates a product. An empty search of the list links to it."""

    show_add_link = False  # The list has a button with a text instead.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("products.add_product")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Create a product in one call of `stock`, and open its page."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewProductForm(request.POST or None, initial={"sku": request.GET.get("sku", "")})
        if form.is_valid():
            try:
                response = form.apply(actor_of(request))
            except stock.StockError as error:
                form.refuse(error)
            else:
                return _created(request, form.cleaned_data["sku"], response)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Add product",
            "form": form,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/products/product_add.html", context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer the searched SKU as a new product if the search finds nothing."""
        response = super().changelist_view(request, extra_context)
        shown: Any = getattr(response, "context_data", None) or {}
        if "cl" in shown and not shown["cl"].result_count:
            shown.update(self._links_of_empty(request, shown["cl"].query.strip()))
        return response

    def _links_of_empty(self, request: HttpRequest, text: str) -> dict[str, Any]:
        """Return the links of a list without rows: to archived matches, and to a new product."""
        links: dict[str, Any] = {}
        if not text:
            return links
        archived: Any = Product.objects.filter(archived=True)
        if request.GET.get("archived") is None and archived.search(text).exists():
            links["archived_url"] = "?" + urlencode({"q": text, "archived": "only"})
        sku = text if is_sku(text) else text.upper()
        is_free = is_sku(sku) and not Product.objects.with_skus([sku]).exists()
        if is_free and self.has_add_permission(request):
            add = reverse("admin:products_product_add")
            links["new_sku"] = sku
            links["new_url"] = f"{add}?{urlencode({'sku': sku})}"
        return links


def _created(request: HttpRequest, sku: str, response: stock.StoredResponse) -> HttpResponse:
    """Open the page of a new product, or an empty form for the next one."""
    product = Product.objects.get(sku=sku)
    if response.is_replay:
        messages.warning(request, f"{sku} was already created. Nothing was changed again.")
    else:
        messages.success(request, str(response.body, "utf-8"))
    if "_addanother" in request.POST:
        return redirect("admin:products_product_add")
    return redirect("admin:products_product_change", product.pk)
