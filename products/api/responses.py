"""What an action answers with."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpResponse
from rest_framework.renderers import BaseRenderer


class JSONRenderer(BaseRenderer):
    """Writes JSON, and moments as RFC 3339 in UTC.

    By orjson, which takes a third of the time of REST framework's own for the same, and writes the
    moments along, which took as long again.
    """

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8.

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data, option=orjson.OPT_UTC_Z)


_RENDERER = JSONRenderer()


class JSONResponse(HttpResponse):
    """A response in JSON, which is all that we answer in.

    It is rendered at once, and not when REST framework has found out in which media type.
    """

    def __init__(
        self, data: Any, *, content_type: str = JSONRenderer.media_type, **response: Any
    ) -> None:
        super().__init__(_RENDERER.render(data), content_type=content_type, **response)
        self.data = data
