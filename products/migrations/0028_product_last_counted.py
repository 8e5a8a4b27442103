from django.db import migrations, models

import products.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0027_apikey_last_used"),
    ]

    operations = [
        migrations.AddField(
            model_name="product",
            name="last_counted_at",
            field=products.models.fields.MomentField(null=True),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("last_counted_at", None)),
                fields=["id"],
                name="product_never_counted",
            ),
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                condition=models.Q(("archived", False), ("last_counted_at__isnull", False)),
                fields=["last_counted_at", "id"],
                name="product_counted",
            ),
        ),
    ]
