"""What the OpenAPI document says beyond what the code shows."""

from typing import Any

Endpoint = tuple[str, str, str, Any]


def only_canonical_paths(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Leave out the routes without `/v1`, which repeat those with it."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(("/v1/", "/health"))]
