"""Log lines for people, with `LOG_FORMAT=plain`."""

import logging


class PlainFormatter(logging.Formatter):
    """Writes a short line for each request of the API. Other records show only their message."""

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
