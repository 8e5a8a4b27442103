"""Frequent queries: compile them once, prepare them, and build instances directly."""

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
    """A query with one parameter that the ORM compiles once, not for each request."""

    def __init__(self, query: Callable[[], QuerySet[Found]]) -> None:
        """Take a function that returns the query, with any value for the parameter."""
        self._query = query

    def fetch(self, parameter: str, *, using: str = DEFAULT_DB_ALIAS) -> list[Found]:
        """Return the instances that match the parameter, from a database."""
        compiled, model = self._compiled, self._model
        found = execute_prepared(compiled.sql, [parameter], using=using)
        instances = []
        for row in compiled.compiler.apply_converters(found, compiled.converters):
            # `from_db` is slower: it also visits the columns that are not loaded.
            instance = model.__new__(model)
            instance.__dict__.update(zip(compiled.columns, row, strict=True))
            instance._state = ModelState()
            instance._state.adding, instance._state.db = False, using
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
