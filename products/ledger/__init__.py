"""Locks rows, writes levels and records events. Only `products.stock` may use it."""
