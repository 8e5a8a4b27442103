from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0007_ledger_page_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyMovement",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("units_in", models.BigIntegerField()),
                ("units_out", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="MovementCursor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("last_id", models.BigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
    ]
