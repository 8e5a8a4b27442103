"""Log lines for people."""

import logging

from inventory_project.logs import PlainFormatter


def line(message: str, **fields: object) -> str:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", **fields})
    return PlainFormatter().format(record).partition(" ")[2]


def test_a_request_of_the_api_is_a_short_line() -> None:
    request = {"operation": "product.reserve", "skus": ["CUP"], "milliseconds": 6.5}

    done = line("request", **request, status=200, outcome="ok")
    refused = line("request", **request, status=409, outcome="insufficient_stock")

    assert done == "product.reserve CUP -> 200 ok, 6.5 ms"
    assert refused == "product.reserve CUP -> 409 insufficient_stock, 6.5 ms"


def test_everything_else_is_its_message() -> None:
    assert line("The pool is empty.") == "INFO The pool is empty."
