import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0004_stockevent_sku"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="product",
            options={
                "permissions": [
                    ("operate_stock", "Can add, remove, reserve, release and fulfill"),
                    ("adjust_stock", "Can adjust stock to a count"),
                ]
            },
        ),
        migrations.AddField(
            model_name="product",
            name="out_of_stock",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.lookups.LessThanOrEqual(
                    models.F("quantity"), models.F("reserved_quantity")
                ),
                output_field=models.BooleanField(),
            ),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("out_of_stock", True)),
                fields=["sku"],
                name="product_active_out_of_stock",
            ),
        ),
    ]
