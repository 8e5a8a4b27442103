"""The back office. It changes stock only through `products.stock`."""

from products.admin import (
    dashboard,
    keys,
    ledger,
    login,
    products,
    reservations,
    users,
    webhooks,
)

__all__ = [
    "dashboard",
    "keys",
    "ledger",
    "login",
    "products",
    "reservations",
    "users",
    "webhooks",
]
