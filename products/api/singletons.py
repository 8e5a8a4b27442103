"""What is made once for all requests."""

from typing import Any, TypeVar

Made = TypeVar("Made")

_instances: dict[type[Any], Any] = {}


def singleton(made: type[Made]) -> Made:
    """Return an instance for all requests, of a class whose instances keep nothing of any.

    REST framework would make new ones for each; a new serializer copies all of its fields.
    """
    if made not in _instances:
        _instances[made] = made()
    instance: Made = _instances[made]
    return instance
