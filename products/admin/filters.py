"""Filters of lists. Each one is a field of the form in the Filters panel.

A filter that consists of links would lose the fields that are not submitted yet.
"""

from typing import Any

from django import forms
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
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


class SelectFilter(DropdownFilter):
    form_class = SelectForm


class ChoicesFilter(ChoicesDropdownFilter):
    """Filter by a field with choices."""

    form_class = SelectForm


class RelatedFilter(RelatedDropdownFilter):
    """Filter by related rows, all of which are offered."""

    form_class = SelectForm


class YesNoFilter(BooleanRadioFilter):
    """Filter by a field that is true or false."""

    form_class = SelectForm
