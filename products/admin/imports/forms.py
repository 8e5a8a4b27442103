"""The forms of the imports: a file, and how it is read."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from products.files.products import MAPPED_COLUMNS
from products.files.rows import folded
from products.files.xlsx import MAX_FILE_BYTES, MAX_ROWS
from products.validators import MAX_NAME_LENGTH, MAX_NOTE_LENGTH


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
        names = names_in_file(cleaned)
        uses = Counter(map(folded, names.values()))
        for name, theirs in names.items():
            if uses[folded(theirs)] > 1:
                self.add_error(f"{name}_column", "Two fields name the same column. Correct one.")
        if cleaned.get("ignore_quantity") and "quantity" in names:
            self.add_error("quantity_column", "The column quantity is ignored. Leave this empty.")
        return cleaned


def names_in_file(options: Mapping[str, Any]) -> dict[str, str]:
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
