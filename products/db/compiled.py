"""Queries that are sent often: compiled once, prepared, and made into instances by a short way."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.sql.compiler import SQLCompiler

from products.db.prepared import array, execute_prepared
from products.db.sqlite import is_sqlite

Found = TypeVar("Found", bound=Model)


class _Compiled(NamedTuple):
    sql: str
    columns: list[str]
    compiler: SQLCompiler
    converters: Any


class CompiledQuery(Generic[Found]):
    """A query with one parameter. To compile it each time took a tenth of a request."""

    def __init__(self, query: Callable[[], QuerySet[Found]]) -> None:
        """`query` makes it, with any value for the parameter; called when it is first needed."""
        self._query = query

    def fetch(self, parameter: str) -> list[Found]:
        """Return what there is for this value, as the database takes it."""
        compiled = self._compiled
        found = execute_prepared(compiled.sql, [parameter])
        rows = compiled.compiler.apply_converters(found, compiled.converters)
        return [self._instance(compiled.columns, row) for row in rows]

    @cached_property
    def _compiled(self) -> _Compiled:
        compiler = self._query().query.get_compiler(connection=connection)
        sql, _ = compiler.as_sql()
        selected: list[Any] = [expression for expression, *_ in compiler.select]
        columns = [column.target.attname for column in selected]
        return _Compiled(sql, columns, compiler, compiler.get_converters(selected))

    @cached_property
    def _model(self) -> type[Found]:
        return self._query().model

    def _instance(self, columns: Sequence[str], row: Iterable[Any]) -> Found:
        """Return an instance with these columns; `from_db` goes through all others, too."""
        instance = self._model.__new__(self._model)
        instance.__dict__.update(zip(columns, row, strict=True))
        instance._state = ModelState()
        instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS
        return instance


def any_of(texts: Iterable[str]) -> str:
    """Return the parameter of a lookup `__any_of` these."""
    listed = list(texts)
    return json.dumps(listed) if is_sqlite() else array(listed)
