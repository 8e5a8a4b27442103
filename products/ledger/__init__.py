"""Lock rows, write levels and record events. Only `products.stock` may use this package."""
