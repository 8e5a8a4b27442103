"""The back office. Stock is looked at here, and changed through `products.stock` alone."""

from products.admin import dashboard, keys, ledger, login, products, reservations, users

__all__ = ["dashboard", "keys", "ledger", "login", "products", "reservations", "users"]
