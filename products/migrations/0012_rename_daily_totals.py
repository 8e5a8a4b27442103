from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("products", "0011_growth")]

    operations = [
        migrations.RenameModel("DailyMovement", "DailyTotal"),
        migrations.RenameModel("MovementCursor", "DailyTotalsCursor"),
    ]
