"""What an action answers with."""

from typing import Any

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer

_RENDERER = JSONRenderer()


class Answer(HttpResponse):
    """A response in JSON, which is all that we answer in.

    It is rendered at once, and not when REST framework has found out in which media type.
    """

    def __init__(
        self, data: Any, *, content_type: str = JSONRenderer.media_type, **response: Any
    ) -> None:
        super().__init__(_RENDERER.render(data), content_type=content_type, **response)
        self.data = data
