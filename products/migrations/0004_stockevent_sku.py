from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import products.models

FILL = """
    UPDATE products_stockevent
    SET sku = (SELECT sku FROM products_product WHERE id = products_stockevent.product_id)
"""


def fill(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Copy the product's SKU to each event, without the triggers that refuse changes.

    On SQLite, adding the column has dropped the triggers. `post_migrate` creates them again.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE products_stockevent DISABLE TRIGGER USER")
        schema_editor.execute(FILL)
        schema_editor.execute("ALTER TABLE products_stockevent ENABLE TRIGGER USER")
    else:
        schema_editor.execute(FILL)


class Migration(migrations.Migration):
    dependencies = [("products", "0003_archived_products")]

    operations = [
        migrations.AddField(
            model_name="stockevent",
            name="sku",
            field=products.models.SkuField(default="", max_length=50, verbose_name="SKU"),
            preserve_default=False,
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
