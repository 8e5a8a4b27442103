from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def leave_room(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave a tenth of each page of products free.

    A change of stock can then write the new version of a row to the same page, and update no index.
    Pages that an import has filled completely would have no room at first.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE products_product SET (fillfactor = 90)")


def leave_none(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE products_product RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0010_bulk_runs"),
    ]

    operations = [
        migrations.RunPython(leave_room, leave_none),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("low_stock", True)),
                fields=["id"],
                name="product_active_low_stock_id",
            ),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("out_of_stock", True)),
                fields=["id"],
                name="product_active_out_of_stock_id",
            ),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", True)),
                fields=["id"],
                name="product_archived_id",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("reference", ""), ("status", "open")),
                fields=["id"],
                name="reservation_open_unnamed",
            ),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(fields=["product", "type", "version"], name="stockevent_type"),
        ),
    ]
