"""The filter by days, in the time zone of the installation."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.contrib.filters.forms import RangeDateForm

from products.admin.base import MAX_QUOTED

YEARS = range(1900, 3000)
_ORDERS = {"-": "%Y-%m-%d", ".": "%d.%m.%Y", "/": "%d/%m/%Y"}
_AMERICAN = "%m/%d/%Y"


def start_of(day: date) -> datetime:
    """Return the first moment of a day in the current time zone."""
    return datetime.combine(day, time.min, timezone.get_current_timezone())


def day_of(text: str) -> date:
    """Parse a day such as 2026-11-29, 29.11.2026 or 29/11/2026.

    Raises `ValidationError`, also for a day such as 05/04/2026 that could mean two days.
    """
    found = sorted(_readings(text.strip()))
    if not found:
        shown = repr(Truncator(text).chars(MAX_QUOTED))
        raise forms.ValidationError(f"{shown} is not a date. Enter one such as 2026-11-29.")
    if len(found) > 1:
        one, other = found
        raise forms.ValidationError(f"{text} could be {one} or {other}. Enter one of these.")
    if found[0].year not in YEARS:
        raise forms.ValidationError(f"Enter a year from {YEARS[0]} to {YEARS[-1]}.")
    return found[0]


def _readings(text: str) -> set[date]:
    """Return the days that a text can mean."""
    written = re.fullmatch(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}", text, re.ASCII)
    if not written:
        return set()
    orders = [_ORDERS[written[1]], *([_AMERICAN] if written[1] == "/" else [])]
    days = set()
    for order in orders:
        try:
            days.add(datetime.strptime(text, order).date())
        except ValueError:
            continue
    return days


class DayField(forms.DateField):
    def to_python(self, value: Any) -> date | None:
        return day_of(value) if value else None


class DaysForm(RangeDateForm):
    """Two days. A text that is not a day stays in its field, with the error."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        super().__init__(name=name, data=data)
        for end in ("from", "to"):
            widget = self.fields[f"{name}_{end}"].widget
            widget.attrs |= {"aria-label": f"Date {end}", "autocomplete": "off"}
            self.fields[f"{name}_{end}"] = DayField(required=False, widget=widget)

    def clean(self) -> None:
        first, last = (self.cleaned_data.get(f"{self.name}_{end}") for end in ("from", "to"))
        if first and last and first > last:
            self.add_error(f"{self.name}_to", f"{last} is before {first}. Swap the two days.")


class DayFilter(RangeDateFilter):
    """From the start of one day to the end of another. Both are optional."""

    form_class = DaysForm

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "date"
        # Also the empty ones. Otherwise Unfold's form would repeat them as hidden fields.
        for name in self.expected_parameters():
            self.used_parameters.setdefault(name, "")
        self.form = DaysForm(str(self.parameter_name), self.used_parameters)

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        yield {"request": self.request, "parameter_name": self.parameter_name, "form": self.form}

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Return the rows of these days, and none if a text is not a day."""
        if not self.form.is_valid():
            return queryset.none()
        first, last = self._days()
        if first:
            queryset = queryset.filter(**{f"{self.field_path}__gte": start_of(first)})
        if last:
            end = start_of(last + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.field_path}__lt": end})
        return queryset

    def errors(self) -> list[str]:
        return [error for errors in self.form.errors.values() for error in errors]

    def described(self, changelist: Any) -> str:
        """Return the days, such as `2026-11-29` or `from 2026-11-29`, or an empty text."""
        if not self.form.is_valid():
            return " to ".join(filter(None, self.form.data.values()))
        first, last = self._days()
        if first and last:
            return f"{first}" if first == last else f"{first} to {last}"
        return f"from {first}" if first else f"until {last}" if last else ""

    def shortcuts(self) -> list[tuple[str, dict[str, str]]]:
        """Return the title and the parameters of each link that filters by one click."""
        today = timezone.localdate()
        days = {
            "Today": (today, today),
            "Yesterday": (today - timedelta(days=1),) * 2,
            "Last 7 days": (today - timedelta(days=6), today),
        }
        names = [str(name) for name in self.expected_parameters()]
        return [
            (title, dict(zip(names, map(str, range_), strict=True)))
            for title, range_ in days.items()
        ]

    def _days(self) -> tuple[date | None, date | None]:
        first, last = (self.form.cleaned_data[str(name)] for name in self.expected_parameters())
        return first, last
