"""How log records become lines."""

import logging


class ShortRefusals(logging.Filter):
    """Makes one short warning of each request that Django refuses, such as one for a wrong host.

    Django logs them as errors with a traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = f"Request refused: {record.getMessage()[:150]}", ()
            record.exc_info = None
            record.__dict__.pop("request", None)
        return True


class PlainFormatter(logging.Formatter):
    """Writes a short line for each request of the API. Other records show only their message.

    For people, with `LOG_FORMAT=plain`.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = record.__dict__
        if "operation" not in fields:
            return super().formatMessage(record)
        skus = ", ".join(fields["skus"])
        return (
            f"{record.asctime} {fields['operation']} {skus} -> {fields['status']} "
            f"{fields['outcome']}, {fields['milliseconds']} ms"
        ).replace("  ", " ")
