"""Model fields for times, SKUs and texts that are searched by their words."""

import re
import unicodedata
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

from products.db.prepared import array


def words_of(text: str) -> list[str]:
    """Return the words of a text as the search compares them: case-folded, without punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", folded)


class MomentField(models.DateTimeField):
    """A `DateTimeField` whose text on SQLite always has six digits after the second.

    SQLite compares times as text. Django leaves out `.000000`, and SQLite's clock writes three
    digits, so the same time could have several texts. A check constraint refuses all other texts
    (ADR 4).
    """

    def db_check(self, connection: BaseDatabaseWrapper) -> str | None:
        if connection.vendor != "sqlite":
            return super().db_check(connection)
        return f"\"{self.column}\" LIKE '____-__-__ __:__:__.______'"

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        text = super().get_db_prep_value(value, connection, prepared)
        if connection.vendor == "sqlite" and text is not None and "." not in text:
            return f"{text}.000000"
        return text


class SkuField(models.CharField):
    """A SKU, sorted and searched by code point on every database.

    Otherwise, PostgreSQL would sort by its locale, which almost ignores hyphens, and could not use
    the index to search for a prefix.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        return {**parameters, "collation": "C" if connection.vendor == "postgresql" else None}


@SkuField.register_lookup
class AnyOf(models.Lookup):
    """Match any of the given SKUs. Unlike `__in`, this takes a single parameter."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        members = "SELECT value FROM json_each(%s)"
        return f"{column} IN ({members})", (*parameters, array(self.rhs))

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*parameters, array(self.rhs))


class WordsField(models.TextField):
    """The words of a text, each between single spaces, for the whole-word lookup `__holds`."""


@WordsField.register_lookup
class Holds(models.Lookup):
    """Match texts that contain all given words. PostgreSQL uses a GIN index."""

    lookup_name = "holds"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        tests = [f"instr({column}, %s) > 0"] * len(self.rhs)
        return " AND ".join(tests), (*parameters, *(f" {word} " for word in self.rhs))

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        # Must be the expression of the index in migration 0002.
        return f"string_to_array({column}, ' ') @> %s", (*parameters, list(self.rhs))
