"""What an action answers with."""

from typing import Any

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer

_RENDERER = JSONRenderer()


def rendered(data: Any) -> bytes:
    """Return a body."""
    body: bytes = _RENDERER.render(data)
    return body


class Answer(HttpResponse):
    """A response in JSON, which is all that we answer in.

    It is rendered at once, and not when REST framework has found out in which media type.
    """

    def __init__(self, data: Any, **response: Any) -> None:
        super().__init__(rendered(data), content_type=JSONRenderer.media_type, **response)
        self.data = data
