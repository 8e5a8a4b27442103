from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0005_out_of_stock_and_permissions"),
    ]

    operations = [
        migrations.CreateModel(
            name="ThrottleBucket",
            fields=[
                ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("used_until", models.BigIntegerField()),
            ],
        ),
    ]
