from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def create_index(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Index the words of names for `__holds`. SQLite has no such index and scans instead."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX product_name_words ON products_product "
            "USING gin (string_to_array(name_words, ' '))"
        )


def drop_index(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX product_name_words")


class Migration(migrations.Migration):
    dependencies = [("products", "0001_initial")]

    operations = [migrations.RunPython(create_index, drop_index)]
