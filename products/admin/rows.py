"""Draw the rows of long lists.

Unfold draws each cell with templates, and draws the headers of the list again for each row. Here,
HTML that differs between rows only by the key is drawn once for each list.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.template import Library
from django.template.loader import render_to_string
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.templatetags.unfold_list import (
    CHECKBOX_CLASSES,
    LINK_CLASSES,
    ROW_CLASSES,
    result_headers,
)
from unfold.utils import display_for_field, display_for_label, display_for_value
from unfold.views import ChangeList

register = Library()

_KEY = "ROWKEY"
"""Stands for the key in HTML that is drawn once. Neither URLs nor HTML escape it."""

Cell = Callable[[Any], str]
"""Returns what one column shows of a row."""


@register.inclusion_tag("products/admin/rows.html")
def list_rows(changelist: ChangeList, actions: list[dict[str, Any]]) -> dict[str, Any]:
    """Draw the headers and the rows of a list.

    Each row has a menu with all actions. If the row has a list `offered`, the menu has the actions
    in it.
    """
    headers = list(result_headers(changelist))
    cells = [
        _cell(changelist, name, header["text"])
        for name, header in zip(changelist.list_display, headers, strict=True)
    ]
    if actions:
        cells.append(_menu(actions))
    return {
        "cl": changelist,
        "result_headers": headers,
        "num_sorted_fields": sum(bool(header.get("sorted")) for header in headers),
        "rows": [
            format_html_join("", "{}", ((cell(row),) for cell in cells))
            for row in changelist.result_list
        ],
    }


def _cell(changelist: ChangeList, name: Any, label: str) -> Cell:
    """Return a function that draws the cell of a column."""
    placeholder = changelist.model(pk=_KEY)
    tag = "td"
    if name == "action_checkbox":
        classes, label = CHECKBOX_CLASSES, "Select record"
        content: Cell = _with_key(changelist.model_admin.action_checkbox(placeholder))
    else:
        classes = [f"field-{name.__name__ if callable(name) else name}", *ROW_CLASSES]
        content = _content(changelist.model_admin, name)
    if name in (changelist.list_display_links or ()):
        tag, content = "th", _linked(changelist, placeholder, content)
    start = format_html('<{} class="{}" data-label="{}">', tag, " ".join(classes), label)
    end = format_html("</{}>", tag)
    return lambda row: start + conditional_escape(content(row)) + end


def _content(admin: Any, name: Any) -> Cell:
    """Return a function that formats the value of a column."""
    empty = admin.get_empty_value_display()
    try:
        field = admin.opts.get_field(name)
    except FieldDoesNotExist:
        column = name if callable(name) else getattr(admin, name)
    else:
        return lambda row: display_for_field(getattr(row, name), field, empty)
    empty = getattr(column, "empty_value_display", empty)
    if colours := getattr(column, "label", None):
        # A list has few different labels, and each is a template.
        draw = cache(lambda value: display_for_label(value, empty, colours))
        return lambda row: draw(column(row))
    return lambda row: display_for_value(column(row), empty)


def _linked(changelist: ChangeList, placeholder: Model, content: Cell) -> Cell:
    """Return a function that links the content to the page of the row.

    The link keeps the filters, so that the page can lead back to this list.
    """
    filters = {"preserved_filters": changelist.preserved_filters, "opts": changelist.opts}
    url = add_preserved_filters(filters, changelist.url_for_result(placeholder))
    start = _with_key(format_html('<a href="{}" class="{}">', url, " ".join(LINK_CLASSES)))
    return lambda row: format_html("{}{}</a>", start(row), content(row))


def _menu(actions: list[dict[str, Any]]) -> Cell:
    """Return a function that draws the menu of a row."""

    @cache
    def menu_of(offered: tuple[str, ...] | None) -> Cell:
        shown = [each for each in actions if offered is None or each["raw_path"] in offered]
        context = {"actions": shown, "key": _KEY}
        return _with_key(render_to_string("products/admin/row_menu.html", context))

    def draw(row: Any) -> str:
        offered = getattr(row, "offered", None)
        return menu_of(None if offered is None else tuple(offered))(row)

    return draw


def _with_key(html: str) -> Callable[[Any], SafeString]:
    """Return a function that replaces the placeholder in HTML with the key of a row."""
    parts = html.split(_KEY)

    def draw(row: Any) -> SafeString:
        key = conditional_escape(row.pk)
        return mark_safe(key.join(parts))  # noqa: S308 (all parts are safe)

    return draw
