import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Count, Max, OuterRef, Subquery


def name_the_callers(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Keep each claim under the name of its client. If several have one name, keep the last.

    Delete refusals first, which are no longer stored.
    """
    claims = apps.get_model("products", "IdempotencyKey").objects
    claims.filter(status__gte=400).delete()
    clients = apps.get_model("products", "ApiKey").objects.filter(pk=OuterRef("api_key_id"))
    claims.update(source="api", caller=Subquery(clients.values("name")[:1]))
    repeated = claims.values("caller", "key").annotate(number=Count("pk"), last=Max("pk"))
    for row in repeated.filter(number__gt=1):
        of_key = claims.filter(caller=row["caller"], key=row["key"])
        of_key.exclude(pk=row["last"]).delete()


def find_their_keys(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Give each claim the API key of its client. Delete all other claims."""
    claims = apps.get_model("products", "IdempotencyKey").objects
    named = apps.get_model("products", "ApiKey").objects.filter(name=OuterRef("caller"))
    claims.exclude(source="api").delete()
    claims.update(api_key_id=Subquery(named.order_by("revoked", "-created").values("pk")[:1]))
    claims.filter(api_key=None).delete()


class Migration(migrations.Migration):
    dependencies = [("products", "0014_moments")]

    operations = [
        # For the way back, which adds the column to rows that have no key yet.
        migrations.AlterField(
            "idempotencykey",
            "api_key",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="products.apikey",
            ),
        ),
        migrations.AddField(
            "idempotencykey",
            "source",
            models.CharField(
                choices=[("api", "Api"), ("admin", "Admin"), ("command", "Command")],
                default="api",
                max_length=10,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "idempotencykey",
            "caller",
            models.CharField(default="", max_length=150),
            preserve_default=False,
        ),
        migrations.RunPython(name_the_callers, find_their_keys),
        migrations.RemoveConstraint("idempotencykey", "idempotencykey_once"),
        migrations.RemoveField("idempotencykey", "api_key"),
        migrations.AddConstraint(
            "idempotencykey",
            models.UniqueConstraint(fields=["source", "caller", "key"], name="idempotencykey_once"),
        ),
    ]
