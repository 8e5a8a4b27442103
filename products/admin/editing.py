"""The form that edits the descriptive fields of a product."""

from typing import Any

from django import forms

from products.models import Product


class ProductForm(forms.ModelForm):
    """Edits of a product. An edit that another user has saved in the meantime is kept.

    Each field carries the value that the page showed, so a field that the user did not touch is not
    saved. A touched field that another user has changed is refused once.
    """

    data: Any
    expected: dict[str, Any]
    """The current values of the changed fields."""

    class Meta:
        model = Product
        fields = ("name", "description", "minimum_stock_level")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True

    def edited(self) -> dict[str, Any]:
        """Return the new values of the fields that the user has changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data}

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        self.expected = {}
        for name in self.changed_data:
            current = getattr(self.instance, name)
            if not self._has_seen(name, current) and self.cleaned_data.get(name) != current:
                self._refuse(name, current)
            self.expected[name] = current
        return cleaned

    def _has_seen(self, name: str, current: Any) -> bool:
        """Return whether the page showed the current value."""
        field, sent = self.fields[name], self.data.get(self[name].html_initial_name)
        return sent is None or field.to_python(sent) == field.to_python(current)

    def _refuse(self, name: str, current: Any) -> None:
        label = self.fields[name].label
        self.add_error(
            name,
            f"{label} was changed to “{current}” after you opened this page. Nothing was saved. "
            "Save again to replace it.",
        )
        # The page now shows the current value, so sending it again confirms the edit.
        self.data = self.data.copy()
        self.data[self[name].html_initial_name] = current
