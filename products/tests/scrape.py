"""Read the figures of a scrape of `/metrics`."""

from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from products.tests.live import Server

TOKEN = "secret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Scrape:
    """The samples of a scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @property
    def names(self) -> set[str]:
        """The names of all samples, such as `inventory_request_seconds_bucket`."""
        return {sample.name for sample in self._samples}

    def values(self, name: str) -> Mapping[frozenset[tuple[str, str]], float]:
        """Return each value of a metric by its labels."""
        return {
            frozenset(sample.labels.items()): sample.value
            for sample in self._samples
            if sample.name == name
        }

    def labels(self, name: str) -> set[str]:
        """Return all values of a label."""
        return {sample.labels[name] for sample in self._samples if name in sample.labels}

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the values that have these labels, or 0."""
        return sum(
            value for found, value in self.values(name).items() if found >= set(labels.items())
        )


def scrape(client: Any) -> Scrape:
    """Scrape the service with Django's test client."""
    response = client.get("/metrics", headers=HEADERS)
    assert response.status_code == 200
    return Scrape(response.content.decode())


def scrape_text(server: Server) -> str:
    """Scrape a running server. Any of its workers answers."""
    url = f"http://127.0.0.1:{server.port}/metrics"
    with urlopen(Request(url, headers=HEADERS), timeout=60) as response:
        text: str = response.read().decode()
        return text


def scrape_server(server: Server) -> Scrape:
    return Scrape(scrape_text(server))
