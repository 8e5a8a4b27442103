"""A live service for clients that are generated from its OpenAPI document."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from products.models import Role
from products.tests.factories import ApiKeyFactory
from products.tests.live import running_server


class Service(NamedTuple):
    """A running service on the test database."""

    url: str
    key: str
    document: str


@pytest.fixture
def service(transactional_db: None) -> Iterator[Service]:
    key = ApiKeyFactory.create(role=Role.MANAGE).text
    with running_server(workers=1) as server:
        server.wait_for_workers()
        document = server.request("GET", "/openapi.json").body
        yield Service(f"http://127.0.0.1:{server.port}", key, json.dumps(document, indent=2))
