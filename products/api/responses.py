"""The response of every action."""

from typing import Any

from django.http import HttpResponse

from products.api.drf import JSONRenderer, singleton

_render = singleton(JSONRenderer).render


class JSONResponse(HttpResponse):
    """A response in JSON, rendered at once.

    REST framework's `Response` is rendered after the view, once its media type is negotiated.
    """

    def __init__(
        self, data: Any, *, content_type: str = JSONRenderer.media_type, **response: Any
    ) -> None:
        super().__init__(_render(data), content_type=content_type, **response)
        self.data = data
