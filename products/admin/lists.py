"""Lists that show their filters in use above the rows, each with a link that removes it."""

from collections.abc import Collection, Iterator
from typing import Any, ClassVar, NamedTuple

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from unfold.views import ChangeList

SEARCH = "search"


class Chip(NamedTuple):
    """A filter that is in use."""

    title: str
    value: str
    url: str
    """The list without this filter."""


class Shortcut(NamedTuple):
    """A link that sets a filter."""

    title: str
    url: str
    is_chosen: bool


class FilteredList(ChangeList):
    """List that shows its search term and its filters as chips."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Django also counts filters whose field was submitted empty.
        self.has_active_filters = any(chip.title != SEARCH for chip in self.chips())

    def chips(self) -> list[Chip]:
        """Return the search term and each filter in use."""
        return list(self._chips())

    def _chips(self) -> Iterator[Chip]:
        if self.query:
            yield Chip(SEARCH, self.query, self._url_without(SEARCH_VAR))
        for spec in self._specs:
            if value := spec.described(self):
                url = self._url_without(*spec.expected_parameters())
                yield Chip(spec.title.partition(" (")[0], value, url)

    def url_without_filters(self) -> str:
        """Return the URL of the whole list, in the chosen order."""
        return self._url_without(SEARCH_VAR, *self.get_filters_params())

    def filter_errors(self) -> list[str]:
        """Return why a filter cannot be applied."""
        return [error for spec in self._specs if hasattr(spec, "errors") for error in spec.errors()]

    def shortcuts(self) -> Iterator[Shortcut]:
        """Return the links that set a filter by one click."""
        for spec in self._specs:
            for title, parameters in spec.shortcuts() if hasattr(spec, "shortcuts") else ():
                is_chosen = all(
                    self.params.get(name) == value for name, value in parameters.items()
                )
                yield Shortcut(title, self.get_query_string(parameters), is_chosen)

    @property
    def _specs(self) -> Any:
        return self.filter_specs

    def _url_without(self, *names: str) -> str:
        url: str = self.get_query_string(dict.fromkeys(names))
        return url


class FilteredListAdmin:
    """Filter a list by its own filters only, which its Filters panel submits together.

    Django would accept every lookup of a field in the address: a regular expression that runs for
    hours, or a search for the digits of a hash.
    """

    filter_parameters: ClassVar[Collection[str]] = ()
    """The parameters of the filters of the list."""

    # Without it, the filters are in no form, and choosing one does nothing.
    list_filter_submit = True
    list_before_template = "admin/products/chips.html"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.filter_parameters

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FilteredList
