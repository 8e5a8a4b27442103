"""The forms of the pages on which lines are entered."""

from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from products.admin.dialogs import NoteField, ReasonField, TimeField, joined
from products.files.cells import UnreadableFile
from products.files.entered import MAX_LINES, Entered, read_entered
from products.validators import MAX_NOTE_LENGTH

MAX_LENGTH = 500_000
"""Characters of all lines. Checked before they are read."""


class LinesForm(forms.Form):
    """Lines with a SKU and a number of units, as text. `entry.js` shows them as a table."""

    operation: ClassVar[str]
    """What the numbers mean, as in `--operation`."""
    max_lines = MAX_LINES

    lines = forms.CharField(
        max_length=MAX_LENGTH,
        strip=False,
        help_text="One product a line: its SKU and the number of units, separated by a blank, a "
        f"tab, a comma or a semicolon. Up to {MAX_LINES:,} lines.",
        error_messages={"required": "Enter at least one line."},
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false"}),
    )

    def clean_lines(self) -> Entered:
        """Read the lines."""
        try:
            return read_entered(self.cleaned_data["lines"], operation=self.operation)
        except UnreadableFile as error:
            raise forms.ValidationError(str(error)) from error

    def shared_fields(self) -> list[forms.BoundField]:
        """Return the visible fields that hold for all lines."""
        return [field for field in self.visible_fields() if field.name != "lines"]

    def posted(self) -> list[tuple[str, str]]:
        """Return the names and the values that the user has sent."""
        return [(name, self.data.get(name, "")) for name in self.fields]


class EntryForm(LinesForm):
    """Lines, and what holds for all of them."""

    note = NoteField()
    reference = NoteField()
    draft = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)
    # Under which name the browser keeps the draft.
    start = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["reason"] = joined(cleaned.get("reason"), cleaned.get("note", ""))
        if len(cleaned["reason"]) > MAX_NOTE_LENGTH:
            self.add_error("note", f"Reason and note have at most {MAX_NOTE_LENGTH} characters.")
        return cleaned


class ReceiveForm(EntryForm):
    operation = "add"

    reason = ReasonField("add")
    reference = NoteField(help_text="For example, the number of the delivery note.")

    field_order = ("lines", "reason", "reference", "note")


class CountForm(EntryForm):
    operation = "adjust"

    reason = ReasonField("adjust")
    counted_at = TimeField(
        required=False,
        label="Time of the count",
        help_text="For counts that were made earlier. Later sales and deliveries are kept. Leave "
        "empty if you count now.",
    )

    field_order = ("lines", "reason", "reference", "note", "counted_at")
