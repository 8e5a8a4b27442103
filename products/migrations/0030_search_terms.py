import json
import re
import unicodedata
from collections.abc import Callable

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import products.models
from products.models import terms_of

BATCH = 5_000

_UPDATE_ON_POSTGRESQL = """
    UPDATE products_product SET {column} = new.text
    FROM unnest(%s::bigint[], %s::text[]) AS new (id, text) WHERE products_product.id = new.id
"""
_UPDATE_ON_SQLITE = """
    UPDATE products_product SET {column} = json_extract(new.value, '$[1]')
    FROM json_each(%s) AS new WHERE products_product.id = json_extract(new.value, '$[0]')
"""


def fill_terms(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _fill(apps, schema_editor, "search_terms", terms_of)


def fill_words(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    def words_of(_: str, name: str) -> str:
        folded = unicodedata.normalize("NFKC", name).casefold()
        return " ".join(["", *re.findall(r"[^\W_]+", folded), ""])

    _fill(apps, schema_editor, "name_words", words_of)


def _fill(
    apps: StateApps,
    schema_editor: BaseDatabaseSchemaEditor,
    column: str,
    make: Callable[[str, str], str],
) -> None:
    """Fill a column of all products from their SKUs and names, a batch at a time."""
    rows = apps.get_model("products", "Product").objects.order_by("pk")
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    update = _UPDATE_ON_POSTGRESQL if is_postgresql else _UPDATE_ON_SQLITE
    last = 0
    while batch := list(rows.filter(pk__gt=last).values_list("pk", "sku", "name")[:BATCH]):
        ids = [pk for pk, _, _ in batch]
        texts = [make(sku, name) for _, sku, name in batch]
        members = (
            [ids, texts] if is_postgresql else [json.dumps(list(zip(ids, texts, strict=True)))]
        )
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(update.format(column=column), members)
        last = ids[-1]


def create_index(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Index the terms. On SQLite, `products.triggers` makes the index after the migration."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX product_search_terms ON products_product "
            "USING gin (array_to_tsvector(string_to_array(substr(search_terms, 2), E'\\n'))) "
            "WITH (fastupdate = off)"  # A search would read all entries that are pending.
        )


def drop_index(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX product_search_terms")
        return
    for verb in ("insert", "delete", "update"):
        schema_editor.execute(f"DROP TRIGGER IF EXISTS products_search_{verb}")
    schema_editor.execute("DROP TABLE IF EXISTS products_search")


def create_index_of_words(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create the index of migration 0002, which PostgreSQL has dropped with its column."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX product_name_words ON products_product "
            "USING gin (string_to_array(name_words, ' '))"
        )


class Migration(migrations.Migration):
    dependencies = [("products", "0029_fill_last_counted")]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, create_index_of_words),
        migrations.RunPython(migrations.RunPython.noop, fill_words),
        # A default for the way back.
        migrations.AlterField(
            model_name="product",
            name="name_words",
            field=products.models.WordsField(default="", editable=False),
        ),
        migrations.RemoveField(model_name="product", name="name_words"),
        migrations.AddField(
            model_name="product",
            name="search_terms",
            field=products.models.TermsField(default="", editable=False),
            preserve_default=False,
        ),
        migrations.RunPython(fill_terms, migrations.RunPython.noop),
        migrations.RunPython(create_index, drop_index),
    ]
