from django.db import migrations, models

import products.models.fields


class Migration(migrations.Migration):
    dependencies = [("products", "0017_imported_file")]

    operations = [
        migrations.AddField(
            model_name="bulkrun",
            name="request_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=128),
        ),
        migrations.AddField(
            model_name="bulkrun",
            name="undone_at",
            field=products.models.fields.MomentField(null=True),
        ),
    ]
