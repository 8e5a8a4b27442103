from django.apps import AppConfig
from django.core.signals import got_request_exception, request_finished
from django.db.backends.signals import connection_created
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.models.signals import post_delete, post_migrate, post_save


class ProductsConfig(AppConfig):
    name = "products"
    verbose_name = "Inventory"

    def ready(self) -> None:
        from products import groups, request_id, triggers
        from products.api.access import forget_keys
        from products.db import connection, sqlite

        connection_created.connect(sqlite.raise_sqlite_parameter_limit, sender=SQLite)
        got_request_exception.connect(connection.drain_pool_on_disconnect)
        request_finished.connect(request_id.clear)
        post_migrate.connect(triggers.install_after_migrate, sender=self)
        for signal in (post_save, post_delete):
            signal.connect(forget_keys, sender="products.ApiKey")
        post_migrate.connect(groups.create_after_migrate, sender=self)
