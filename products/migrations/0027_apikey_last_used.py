from django.db import migrations

import products.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0025_totals_without_openings"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="last_used_at",
            field=products.models.fields.MomentField(null=True),
        ),
    ]
