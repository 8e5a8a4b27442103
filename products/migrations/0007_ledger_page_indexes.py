from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("products", "0006_throttle_bucket"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(fields=["occurred_at", "id"], name="stockevent_by_time"),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(fields=["type", "occurred_at", "id"], name="stockevent_by_type"),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(fields=["source", "occurred_at", "id"], name="stockevent_by_source"),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(fields=["actor", "occurred_at", "id"], name="stockevent_by_actor"),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(
                condition=models.Q(("reference", ""), _negated=True),
                fields=["reference", "occurred_at", "id"],
                name="stockevent_by_reference",
            ),
        ),
        migrations.AddIndex(
            model_name="stockevent",
            index=models.Index(
                condition=models.Q(("request_id", ""), _negated=True),
                fields=["request_id"],
                name="stockevent_by_request",
            ),
        ),
    ]
