from django.apps import AppConfig
from django.core.signals import got_request_exception
from django.db.backends.signals import connection_created
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.models.signals import post_delete, post_migrate, post_save


class ProductsConfig(AppConfig):
    name = "products"
    verbose_name = "Inventory"

    def ready(self) -> None:
        from products import database, groups, triggers
        from products.api.authentication import forget_keys

        connection_created.connect(database.take_sqlite_at_its_word, sender=SQLite)
        got_request_exception.connect(database.forget_lost_connections)
        post_migrate.connect(triggers.install_after_migrate, sender=self)
        for signal in (post_save, post_delete):
            signal.connect(forget_keys, sender="products.ApiKey")
        post_migrate.connect(groups.make_after_migrate, sender=self)
