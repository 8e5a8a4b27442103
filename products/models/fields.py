"""Model fields for times, SKUs and search terms."""

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler

from products.db.prepared import array
from products.models.search import FTS5, POSTGRESQL, terms_of


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
    """Only migrations before 0030 use this field."""


class TermsField(models.TextField):
    """The terms by which a product is searched, from its SKU and its name (ADR 22)."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        return {**parameters, "collation": "C" if connection.vendor == "postgresql" else None}

    def pre_save(self, model_instance: Any, add: bool) -> str:
        terms = terms_of(model_instance.sku, model_instance.name)
        setattr(model_instance, self.attname, terms)
        return terms


@TermsField.register_lookup
class InIndex(models.Lookup):
    """Match the products that the index finds for a query. These may be a few too many.

    The query is a function such as `Search.query`.
    """

    lookup_name = "in_index"
    prepare_rhs = False

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        found = "SELECT rowid FROM products_search WHERE products_search MATCH %s"
        table = compiler.quote_name_unless_alias(self.lhs.alias)
        return f'{table}."id" IN ({found})', (self.rhs(FTS5),)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        query = self.rhs(POSTGRESQL)
        return f"{indexed(column)} @@ %s::tsquery", (*parameters, query)


def indexed(column: str) -> str:
    """Return the expression that PostgreSQL's index of terms holds. Migration 0030 repeats it."""
    return f"array_to_tsvector(string_to_array(substr({column}, 2), E'\\n'))"


@models.BigAutoField.register_lookup
class FewOf(models.Lookup):
    """Match a few ids.

    Unlike for `__in`, the database expects few rows, reads these and sorts them. It would otherwise
    look for them among all rows in the order of the list.
    """

    lookup_name = "few_of"
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
        members = "SELECT unnest(%s::bigint[])"
        return f"{column} = ANY(ARRAY({members}))", (*parameters, array(self.rhs))
