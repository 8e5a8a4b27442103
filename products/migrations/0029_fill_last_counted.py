from datetime import datetime

from django.db import migrations, transaction
from django.db.models import Exists, OuterRef

BATCH = 20_000

# Undos are no counts.
FILL = """
    UPDATE products_product SET last_counted_at = (
        SELECT MAX(occurred_at) FROM products_stockevent
        WHERE product_id = products_product.id
        AND type = 'InventoryAdjusted' AND undoes_id IS NULL
    )
    WHERE id >= %s AND id < %s AND EXISTS (
        SELECT 1 FROM products_stockevent
        WHERE product_id = products_product.id
        AND type = 'InventoryAdjusted' AND undoes_id IS NULL
    )
"""


def fill(apps, schema_editor):
    """Set the time of the last count from the ledger. May run again after an interruption."""
    products = apps.get_model("products", "Product").objects
    last = products.order_by("-pk").values_list("pk", flat=True).first() or 0
    for start in range(0, last + 1, BATCH):
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute(FILL, [start, start + BATCH])
    fill_late_counts(apps)


def fill_late_counts(apps):
    """Set the moment of the count where the last one was entered late."""
    events = apps.get_model("products", "StockEvent").objects
    products = apps.get_model("products", "Product").objects
    counts = events.filter(type="InventoryAdjusted", undoes=None)
    later = counts.filter(product=OuterRef("product"), version__gt=OuterRef("version"))
    for event in counts.filter(~Exists(later), details__has_key="counted_at").iterator():
        moment = datetime.fromisoformat(event.details["counted_at"])
        products.filter(pk=event.product_id).update(last_counted_at=moment)


class Migration(migrations.Migration):
    # The products are locked for the time of a batch only.
    atomic = False

    dependencies = [
        ("products", "0028_product_last_counted"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]
