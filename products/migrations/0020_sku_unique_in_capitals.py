from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    dependencies = [("products", "0019_key_issuers")]

    operations = [
        migrations.AddConstraint(
            model_name="product",
            constraint=models.UniqueConstraint(Upper("sku"), name="product_sku_unique_in_capitals"),
        ),
    ]
