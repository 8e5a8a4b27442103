from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProductsConfig(AppConfig):
    name = "products"
    verbose_name = "Inventory"

    def ready(self) -> None:
        from products import triggers

        post_migrate.connect(triggers.install_after_migrate, sender=self)
