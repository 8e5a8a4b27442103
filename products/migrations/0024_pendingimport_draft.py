from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0030_search_terms"),
    ]

    operations = [
        migrations.AddField(
            model_name="pendingimport",
            name="draft",
            field=models.CharField(db_default="", default="", max_length=32),
        ),
    ]
