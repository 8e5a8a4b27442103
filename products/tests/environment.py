"""A pytest plugin: the environment of a test run, whatever the developer's own or `.env` says."""

import os

# DEBUG stands for what a development run has: plain HTTP, plain static files, a default key.
# Django's test runner turns `settings.DEBUG` itself off.
os.environ["DEBUG"] = "on"
os.environ["LOG_LEVEL"] = "INFO"
# A connection for each of the threads that act at once.
os.environ["DATABASE_POOL_SIZE"] = "80"
os.environ["API_THROTTLE_RATE"] = ""  # None, also if `.env` has one.
os.environ["NUM_PROXIES"] = "0"
for _name in ("ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "SECURE_SSL_REDIRECT"):
    os.environ.pop(_name, None)
