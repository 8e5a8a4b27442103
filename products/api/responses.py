"""The response of every action."""

from typing import Any

from django.http import HttpResponse

from products.api.drf import JSONRenderer, singleton


class JSONResponse(HttpResponse):
    """A response in JSON, rendered at once.

    REST framework's `Response` is rendered after the view, once its media type is negotiated.
    """

    def __init__(
        self, data: Any, *, content_type: str = JSONRenderer.media_type, **response: Any
    ) -> None:
        rendered = singleton(JSONRenderer).render(data)
        super().__init__(rendered, content_type=content_type, **response)
        self.data = data
