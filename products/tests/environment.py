"""A pytest plugin: the environment of a test run, whatever the developer's own or `.env` says."""

import os

# DEBUG stands for what a development run has: plain HTTP, plain static files, a default key.
# Django's test runner turns `settings.DEBUG` itself off.
os.environ["DEBUG"] = "on"
os.environ["LOG_LEVEL"] = "INFO"
for _name in ("ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "DATABASE_POOL_SIZE", "SECURE_SSL_REDIRECT"):
    os.environ.pop(_name, None)
