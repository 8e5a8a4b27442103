"""The JSON response of the views."""

from typing import Any

from django.http import HttpResponse

from products.api.drf import JSONRenderer, singleton

_render = singleton(JSONRenderer).render


class JSONResponse(HttpResponse):
    """A JSON response that is rendered immediately.

    REST framework renders its `Response` after the view, when it has negotiated the media type.
    """

    def __init__(
        self, data: Any, *, content_type: str = JSONRenderer.media_type, **response: Any
    ) -> None:
        super().__init__(_render(data), content_type=content_type, **response)
        self.data = data
