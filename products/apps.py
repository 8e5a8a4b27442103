from django.apps import AppConfig
from django.core.signals import got_request_exception
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class ProductsConfig(AppConfig):
    name = "products"
    verbose_name = "Inventory"

    def ready(self) -> None:
        from products import database, groups, triggers

        connection_created.connect(database.take_sqlite_at_its_word)
        got_request_exception.connect(database.forget_lost_connections)
        post_migrate.connect(triggers.install_after_migrate, sender=self)
        post_migrate.connect(groups.make_after_migrate, sender=self)
