import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the ledger's last columns.

    On PostgreSQL no row is rewritten. The ledger is locked while one scan builds the partial index.
    """

    dependencies = [("products", "0012_rename_daily_totals")]

    operations = [
        migrations.AddField(
            model_name="stockevent",
            name="details",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="stockevent",
            name="undoes",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="undone_by",
                to="products.stockevent",
            ),
        ),
        migrations.AlterField(
            model_name="stockevent",
            name="type",
            field=models.CharField(
                choices=[
                    ("ProductCreated", "Product Created"),
                    ("ProductEdited", "Product Edited"),
                    ("ProductArchived", "Product Archived"),
                    ("ProductRestored", "Product Restored"),
                    ("InventoryAdded", "Added"),
                    ("InventoryRemoved", "Removed"),
                    ("InventoryReserved", "Reserved"),
                    ("InventoryReleased", "Released"),
                    ("InventoryFulfilled", "Fulfilled"),
                    ("InventoryAdjusted", "Adjusted"),
                    ("LowStockDetected", "Low Stock Detected"),
                    ("LowStockResolved", "Low Stock Resolved"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="stockevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("undoes__isnull", False)),
                fields=("undoes",),
                name="stockevent_undone_once",
            ),
        ),
    ]
