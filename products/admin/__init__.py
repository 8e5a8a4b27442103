"""The back office. Stock is looked at here, and changed through `products.stock` alone."""

from products.admin import keys, ledger, login, people, products, reservations

__all__ = ["keys", "ledger", "login", "people", "products", "reservations"]
