from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from products.db.clock import Now
from products.models.fields import MomentField

MOMENTS = [
    ("bulkrun", "started_at", MomentField(db_default=Now())),
    ("bulkrun", "ended_at", MomentField(null=True)),
    ("idempotencykey", "created_at", MomentField(db_default=Now(), db_index=True)),
    ("pendingimport", "created_at", MomentField(db_default=Now(), db_index=True)),
    ("product", "created_at", MomentField(db_default=Now())),
    ("product", "updated_at", MomentField(db_default=Now())),
    ("reservation", "expires_at", MomentField(null=True, blank=True)),
    ("reservation", "created_at", MomentField(db_default=Now())),
    ("stockevent", "occurred_at", MomentField(db_default=Now())),
]


def write_six_digits(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On SQLite, rewrite each stored time with six digits after the second.

    Drops the append-only triggers during the rewrite.
    """
    if schema_editor.connection.vendor != "sqlite":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE type = 'trigger' AND tbl_name = 'products_stockevent'"
        )
        triggers = cursor.fetchall()
        for name, _sql in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        for model, column, _field in MOMENTS:
            # 19 characters end with the second, 23 with a millisecond.
            cursor.execute(
                f"UPDATE products_{model}"  # noqa: S608 (constant names)
                f" SET {column} = {column} || substr('.000000', length({column}) - 18)"
                f" WHERE length({column}) < 26"
            )
        for _name, sql in triggers:
            cursor.execute(sql)


class Migration(migrations.Migration):
    dependencies = [("products", "0013_event_details")]

    # The rewrite comes first, because on SQLite the fields check the text. Altering a field drops
    # the table's triggers there. `post_migrate` creates them again.
    operations = [
        migrations.RunPython(write_six_digits, migrations.RunPython.noop, elidable=True),
        *(migrations.AlterField(model, name, field) for model, name, field in MOMENTS),
    ]
