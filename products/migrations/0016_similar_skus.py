from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    dependencies = [("products", "0015_claims_by_name")]

    operations = [
        migrations.AddIndex(
            model_name="product",
            index=models.Index(
                models.Func(
                    Upper("sku"), function="LTRIM", template="%(function)s(%(expressions)s, '0')"
                ),
                name="product_similar_sku",
            ),
        ),
    ]
