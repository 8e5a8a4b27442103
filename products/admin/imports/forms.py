"""The forms of the imports: a file, and how it is read."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from products.admin.dialogs import TimeField
from products.files import adjustments, products
from products.files.columns import Columns, folded
from products.files.layouts import select
from products.files.profiles import PROFILES, Wanted
from products.files.selection import Choice, ReadLines, Selection
from products.files.xlsx import MAX_FILE_BYTES, MAX_ROWS
from products.validators import MAX_NAME_LENGTH, MAX_NOTE_LENGTH

MAX_WHERE_LENGTH = 2_000


class ImportForm(forms.Form):
    """A file to import."""

    file = forms.FileField(
        label="File",
        help_text=f"CSV (UTF-8, separated by commas, semicolons or tabs) or XLSX, up to "
        f"{MAX_ROWS:,} rows and {MAX_FILE_BYTES // 1024 // 1024} MiB. For a larger file, ask an "
        "administrator to run import_products or bulk_adjust.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.tsv,.txt,.xlsx"}),
    )
    header_line = forms.IntegerField(
        required=False,
        min_value=1,
        help_text="The line that names the columns. The lines above it are skipped. If empty: the "
        "first line that is not empty.",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    upper_case = forms.BooleanField(
        label="Write SKUs in capitals",
        required=False,
        help_text="Reads the SKU tee-1 as TEE-1.",
        widget=UnfoldBooleanWidget,
    )

    sheet = forms.CharField(
        required=False,
        max_length=MAX_NAME_LENGTH,
        help_text="The name of the sheet in an XLSX file with several. If empty: the only visible "
        "sheet that has cells.",
        widget=UnfoldAdminTextInputWidget,
    )
    profile = forms.ChoiceField(
        label="Exported by",
        required=False,
        choices=[
            ("", "none of these"),
            *((name, profile.title) for name, profile in PROFILES.items()),
        ],
        help_text="The columns are found by their names in this system. Other columns are ignored.",
        widget=UnfoldAdminSelectWidget,
    )
    location = forms.CharField(
        required=False,
        max_length=MAX_NAME_LENGTH,
        help_text="Reads the stock of this location only, if the export has several.",
        widget=UnfoldAdminTextInputWidget,
    )
    where = forms.CharField(
        label="Only rows where",
        required=False,
        max_length=MAX_WHERE_LENGTH,
        help_text="Such as Type=simple. Other rows are passed over. Write one condition a line.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    field_order = ("profile", "file", "location", "where")

    mapped_columns: ClassVar[Sequence[str]]
    """Our names of the columns that can have other names in the file."""

    def main_fields(self) -> list[forms.BoundField]:
        """Return the fields that are always shown."""
        return [field for field in self if not self._is_about_columns(field.name)]

    def column_fields(self) -> list[forms.BoundField]:
        """Return the fields about the columns of the file."""
        return [field for field in self if self._is_about_columns(field.name)]

    def shows_columns(self) -> bool:
        """Return whether the fields about the columns are needed."""
        fields = self.column_fields()
        return "file" in self.errors or any(field.data or field.errors for field in fields)

    def _is_about_columns(self, name: str) -> bool:
        others = ("sheet", "header_line", "ignore_other_columns", "operation")
        return name in others or name.endswith("_column")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        names = self.names_in_file()
        uses = Counter(map(folded, names.values()))
        for name, theirs in names.items():
            if uses[folded(theirs)] > 1:
                self.add_error(f"{name}_column", "Two fields name the same column. Correct one.")
        return cleaned

    def names_in_file(self) -> dict[str, str]:
        """Map our names of columns to their names in the file."""
        names = {name: self.cleaned_data.get(f"{name}_column") for name in self.mapped_columns}
        return {name: theirs for name, theirs in names.items() if theirs}

    def columns(self) -> Columns:
        """Return the columns that the file may have."""
        raise NotImplementedError

    def wanted(self) -> Wanted:
        """Return the columns that are read with a profile."""
        raise NotImplementedError

    def select(self, read: ReadLines) -> Selection:
        """Return the columns of the file and the rows that are read. Raises `UnreadableFile`."""
        columns = self.columns()._replace(
            header_line=self.cleaned_data["header_line"] or 0,
            upper_case=self.cleaned_data["upper_case"],
        )
        return select(read, columns, self.choice(), self.wanted())

    def choice(self) -> Choice:
        """Return how the columns of the file are found, and which of its rows are read."""
        where = self.cleaned_data["where"].splitlines()
        return Choice(
            profile=self.cleaned_data["profile"],
            location=self.cleaned_data["location"],
            where=[condition for condition in where if condition.strip()],
            adds_up=self.cleaned_data.get("sum_repeated", False),
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
        help_text="Creates a product although only leading zeros or an exponent distinguish "
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

    mapped_columns = products.MAPPED_COLUMNS

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("ignore_quantity") and cleaned.get("quantity_column"):
            self.add_error("quantity_column", "The column quantity is ignored. Leave this empty.")
        return cleaned

    def columns(self) -> Columns:
        return products.product_columns(
            ignore_quantity=self.cleaned_data["ignore_quantity"],
            renamed=self.names_in_file(),
            allow_others=self.cleaned_data["ignore_other_columns"],
        )

    def wanted(self) -> Wanted:
        return products.wanted_in_products(ignore_quantity=self.cleaned_data["ignore_quantity"])


_MEANINGS = {
    "": "",
    "adjust": "units counted",
    "add": "units received",
    "remove": "units taken out",
    "change": "changes with a sign: +3 adds, -3 removes",
}
"""The names of the operations, with their meaning."""


class AdjustmentImportForm(ImportForm):
    """A file of stock changes, with a default reason."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_NOTE_LENGTH,
        help_text="Used for rows without a reason. Every count needs a reason. If a system is "
        "chosen above, the default is such as shopify import.",
        widget=UnfoldAdminTextInputWidget,
    )
    counted_at = TimeField(
        required=False,
        label="Time of the count",
        help_text="For counts that were made earlier, if the file does not have their time. Later "
        "sales and deliveries are kept.",
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
        help_text="For a file of another system. Name its columns in the fields below.",
        widget=UnfoldBooleanWidget,
    )
    sku_column = _column_field("The SKU is in column", "A row without a SKU is then passed over.")
    amount_column = _column_field(
        "The number of units is in column",
        "No other column then holds numbers of units. Choose their meaning below.",
    )
    operation = forms.ChoiceField(
        label="The number of units means",
        required=False,
        choices=_MEANINGS,
        widget=UnfoldAdminSelectWidget,
    )
    reason_column = _column_field("The reason is in column")
    reference_column = _column_field("The reference is in column")
    expected_quantity_column = _column_field("The expected quantity is in column")
    counted_at_column = _column_field("The time of a count is in column")

    mapped_columns = adjustments.MAPPED_COLUMNS

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("profile"):
            cleaned["reason"] = cleaned.get("reason") or Choice(cleaned["profile"]).reason
            return cleaned
        if cleaned.get("amount_column") and not cleaned.get("operation"):
            self.add_error("operation", "Choose what the numbers in this column mean.")
        if cleaned.get("operation") and not cleaned.get("amount_column"):
            self.add_error("amount_column", "Name the column that holds these numbers.")
        return cleaned

    def columns(self) -> Columns:
        return adjustments.adjustment_columns(
            renamed=self.names_in_file(),
            operation=self._operation() if self.cleaned_data["amount_column"] else "",
            allow_others=self.cleaned_data["ignore_other_columns"],
        )

    def wanted(self) -> Wanted:
        is_late = bool(self.cleaned_data["counted_at"] or self.cleaned_data["counted_at_column"])
        return adjustments.wanted_in_adjustments(self._operation(), is_late=is_late)

    def _operation(self) -> str:
        operation: str = self.cleaned_data["operation"] or "adjust"
        return operation
