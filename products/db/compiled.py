"""Queries that are sent often: compiled once, prepared, and made into instances directly."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.sql.compiler import SQLCompiler

from products.db.prepared import execute_prepared

Found = TypeVar("Found", bound=Model)


class _Compiled(NamedTuple):
    sql: str
    columns: list[str]
    compiler: SQLCompiler
    converters: Any


class CompiledQuery(Generic[Found]):
    """A query with one parameter, which the ORM compiles once and not for each request."""

    def __init__(self, query: Callable[[], QuerySet[Found]]) -> None:
        """`query` returns it with any value for the parameter, and is called once."""
        self._query = query

    def fetch(self, parameter: str) -> list[Found]:
        """Return the instances that match the parameter."""
        compiled, model = self._compiled, self._model
        found = execute_prepared(compiled.sql, [parameter])
        instances = []
        for row in compiled.compiler.apply_converters(found, compiled.converters):
            # `from_db` would go through all other columns as well.
            instance = model.__new__(model)
            instance.__dict__.update(zip(compiled.columns, row, strict=True))
            instance._state = ModelState()
            instance._state.adding, instance._state.db = False, DEFAULT_DB_ALIAS
            instances.append(instance)
        return instances

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
