from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("products", "0002_product_name_words_index")]

    operations = [
        migrations.RemoveIndex(model_name="product", name="product_low_stock"),
        migrations.AddField(
            model_name="product",
            name="archived",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("low_stock", True)),
                fields=["sku"],
                name="product_active_low_stock",
            ),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", True)), fields=["sku"], name="product_archived"
            ),
        ),
    ]
