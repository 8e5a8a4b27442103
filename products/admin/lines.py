"""Lines of SKUs and numbers on a page. `lines.js` adds, removes and completes them."""

from typing import Any, cast

from django import forms
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from products import stock
from products.admin.completion import with_skus
from products.admin.dialogs import WholeNumberField
from products.models import Product
from products.validators import MAX_SKU_LENGTH

MAX_LINES = 1_000
TOO_MANY = f"A page has at most {MAX_LINES:,} lines. Divide them."


class LineForm(forms.Form):
    """One line. An empty line is ignored.

    A page with other fields adds or replaces them in a subclass. The SKU stays the first.
    """

    sku = forms.CharField(
        label="SKU",
        # Unlike the SKU of a product, it can be followed by blanks, as it may be pasted.
        max_length=MAX_SKU_LENGTH,
        widget=UnfoldAdminTextInputWidget(
            attrs={
                "aria-label": "SKU",
                "autocapitalize": "characters",
                "autocomplete": "off",
                "spellcheck": "false",
                "data-sku": True,
                "role": "combobox",
                "aria-autocomplete": "list",
                "aria-controls": "sku-suggestions",
                "aria-expanded": "false",
            }
        ),
    )
    amount = WholeNumberField(min_value=1)
    amount.widget.attrs["aria-label"] = "Amount"

    product: Product | None = None
    """The product of the SKU. Set for each line with a known SKU."""


# Typed `Any`: Django's class cannot name the class of its forms.
_BaseFormSet: Any = forms.BaseFormSet


class LineFormSet(_BaseFormSet):
    """All lines of a page, at most `MAX_LINES`. One query looks up their products."""

    max_lines = MAX_LINES
    refuses_unknown = True
    """Whether a SKU without a product is an error here. Otherwise `stock` refuses the line."""

    default_error_messages = {
        **forms.BaseFormSet.default_error_messages,
        "too_many_forms": TOO_MANY,
    }

    @property
    def complete_url(self) -> str:
        """The URL that `lines.js` asks for products."""
        return reverse("admin:products_product_complete")

    @property
    def filled(self) -> list[Any]:
        """The forms of the lines that are not empty."""
        return [form for form in self.forms if form.has_changed()]

    def initial_form_count(self) -> int:
        """Return 0 for lines that were sent. A line that the user removed is not missing."""
        return 0 if self.is_bound else super().initial_form_count()

    def clean(self) -> None:
        filled = self.filled
        if not filled:
            raise forms.ValidationError("Enter at least one line.")
        if len(filled) > MAX_LINES:
            raise forms.ValidationError(TOO_MANY)
        self._find_products([form for form in filled if "sku" in form.cleaned_data])

    def refuse(self, error: stock.StockError) -> None:
        """Show the error of each refused line. Its index counts the lines that are not empty."""
        filled = self.filled
        for index, refused in error.lines:
            of_product = isinstance(refused, stock.ProductNotFound | stock.ProductArchived)
            filled[index].add_error("sku" if of_product else "amount", refused.detail)

    def _find_products(self, lines: list[Any]) -> None:
        """Set the product of each line, and refuse the lines without one."""
        found = with_skus(form.cleaned_data["sku"] for form in lines)
        products = {product.sku.upper(): product for product in found}
        for form in lines:
            sku = form.cleaned_data["sku"]
            form.product = products.get(sku.upper())
            if form.product is not None:
                form.cleaned_data["sku"] = form.product.sku
            elif self.refuses_unknown:
                form.add_error("sku", f"Product {sku} does not exist.")
            elif faults := stock.faults_of(stock.Line, sku=sku):
                form.add_error("sku", faults[0].detail)


def line_formset(
    form_class: type[LineForm] = LineForm, formset_class: type[LineFormSet] = LineFormSet
) -> type[LineFormSet]:
    """Return the class of a page's lines."""
    # Empty lines do not count, so a page may send more.
    most = 2 * MAX_LINES
    formset = forms.formset_factory(
        form_class, formset=formset_class, extra=3, max_num=most, absolute_max=most
    )
    return cast(type[LineFormSet], formset)
