"""Filters of lists. Each one is a field of the form in the Filters panel.

A filter that consists of links would lose the fields that are not submitted yet. A filter describes
its value for its chip above the list (`products.admin.lists`).
"""

from typing import Any

from django import forms
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
    TextFilter,
)
from unfold.widgets import UnfoldAdminSelectWidget


class SelectForm(forms.Form):
    """One select element of the browser. Unfold's own form needs a script to be opened."""

    def __init__(
        self, *, name: str, label: str, choices: Any, data: Any, multiple: bool = False
    ) -> None:
        super().__init__(data)
        self.fields[name] = forms.ChoiceField(
            label=label.strip(), required=False, choices=choices, widget=UnfoldAdminSelectWidget()
        )


class _Select:
    """A filter by one of several values."""

    form_class = SelectForm

    def described(self, changelist: Any) -> str:
        """Return the chosen option, or an empty text."""
        filter_spec: Any = self
        form = next(iter(filter_spec.choices(changelist)))["form"]
        options = {str(value): str(text) for value, text in next(iter(form)).field.choices}
        value = str(filter_spec.value() or "")
        return options.get(value, value) if value else ""


class SelectFilter(_Select, DropdownFilter):
    def value(self) -> str | None:
        """Return the value in the address if the filter offers it."""
        value: str | None = super().value()
        return value if value in dict(self.lookup_choices) else None


class ChoicesFilter(_Select, ChoicesDropdownFilter):
    """Filter by a field with choices."""


class RelatedFilter(_Select, RelatedDropdownFilter):
    """Filter by related rows, all of which are offered."""


class YesNoFilter(_Select, BooleanRadioFilter):
    """Filter by a field that is true or false."""


class ExactTextFilter(TextFilter):
    """Filter by a text. Blanks around it do not count."""

    def text(self) -> str:
        return (self.value() or "").strip()

    def described(self, changelist: Any) -> str:
        return self.text()
