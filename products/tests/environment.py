"""A pytest plugin that sets the environment of a test run, over the developer's own and `.env`."""

import os

# Gives tests the settings of a development run: plain HTTP, plain static files, a default key.
# Django's test runner sets `settings.DEBUG` to false.
os.environ["DEBUG"] = "on"
os.environ["LOG_LEVEL"] = "INFO"
os.environ["LOG_FORMAT"] = "json"
# Enough connections for all threads of a test.
os.environ["DATABASE_POOL_SIZE"] = "80"
os.environ["API_THROTTLE_RATE"] = ""  # No limit, even if `.env` sets one.
os.environ["NUM_PROXIES"] = "0"
os.environ["EMAIL_URL"] = os.environ["ALERT_EMAILS"] = os.environ["DEFAULT_FROM_EMAIL"] = ""
# Only `products.tests.wide_skus` sets the variable of the tests.
os.environ["SKU_CHARACTERS"] = os.environ.get("SKU_CHARACTERS_OF_TESTS", "")
for _name in ("ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "SECURE_SSL_REDIRECT", "PATH_PREFIX"):
    os.environ.pop(_name, None)
