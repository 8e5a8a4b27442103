"""Settings of the inventory service, for every environment.

Development, tests and production differ only in environment variables. `.env.example` explains
them.
"""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from inventory_project import environment
from products.db.connection import connection_with_timeout
from products.db.replica import REPLICA

BASE_DIR = Path(__file__).resolve().parent.parent

environment.read_file(BASE_DIR / ".env")

DEBUG = environment.switch("DEBUG", default=False)
# No default without DEBUG: anyone can forge sessions that are signed with a published key.
SECRET_KEY = environment.secret("SECRET_KEY", default=("development-only-" + "0" * 40) * DEBUG)
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Run make .env to write a file .env with a random key, "
        "or set SECRET_KEY in the environment."
    )
ALLOWED_HOSTS = environment.host_names("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.origins("CSRF_TRUSTED_ORIGINS", subdomains=True)
CORS_ALLOWED_ORIGINS = environment.origins("CORS_ALLOWED_ORIGINS")

# The path under which a proxy publishes the service. No header of a request can change it.
PATH_PREFIX = environment.pattern(
    "PATH_PREFIX", r"(/[A-Za-z0-9._~-]+)+", description="a path such as /inventory"
)
FORCE_SCRIPT_NAME = PATH_PREFIX or None
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{PATH_PREFIX}/"

# The production server listens here.
HOST = environment.host("HOST", default="127.0.0.1")
PORT = environment.number("PORT", default=8000, minimum=1, maximum=65535)
WEB_CONCURRENCY = environment.number(
    "WEB_CONCURRENCY", default=os.cpu_count() or 1, minimum=1, maximum=1000
)

# ---------------------------------------------------------------------------------- application

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.humanize",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "rest_framework_api_key",
    "products",
    # For its command check_settings.
    "inventory_project",
]

# Served for any host name: an orchestrator or Prometheus may only know an IP address.
ANY_HOST_PATHS = ("/health", "/health/live", "/metrics")

MIDDLEWARE = [
    "products.api.middleware.CountRequests",
    "products.api.middleware.RequestId",
    "products.api.middleware.ProblemResponses",
    "products.api.middleware.Deadline",
    "django.middleware.security.SecurityMiddleware",
    "inventory_project.middleware.Cors",
    "products.api.middleware.BodyLimit",
    "inventory_project.middleware.StaticFiles",
    "inventory_project.middleware.Sessions",
    "inventory_project.middleware.LocalTime",
    "inventory_project.middleware.Common",
    "django.middleware.csrf.CsrfViewMiddleware",
    "inventory_project.middleware.Users",
    "inventory_project.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

LOGIN_REDIRECT_URL = "admin:index"
ROOT_URLCONF = "inventory_project.urls"
WSGI_APPLICATION = "inventory_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Templates that replace those of Unfold.
        "DIRS": [BASE_DIR / "inventory_project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {
                "list_rows": "products.admin.rows",
                "undo_button": "products.admin.undo_button",
            },
        },
    },
]

LANGUAGE_CODE = "en-us"
# One format of dates on all pages: 2026-11-29 18:00.
FORMAT_MODULE_PATH = ["inventory_project.formats"]
# The API and the commands use UTC. The back office has its own time zone.
TIME_ZONE = "UTC"
USE_TZ = True
BACK_OFFICE_TIME_ZONE = environment.time_zone("TIME_ZONE", default="UTC")

# ------------------------------------------------------------------------------------- database

# How long a request waits for a connection, for a server that is being connected to, for a lock on
# PostgreSQL and for other writers on SQLite, and how long a transaction may be idle.
CONNECTION_WAIT_SECONDS = 3
CONNECT_SECONDS = 2  # The least that psycopg supports.
LOCK_WAIT_SECONDS = 5
SQLITE_BUSY_SECONDS = 20
IDLE_IN_TRANSACTION_SECONDS = 30

DATABASE_POOL_SIZE = environment.number("DATABASE_POOL_SIZE", default=2)
DATABASE_STATEMENT_TIMEOUT = environment.number("DATABASE_STATEMENT_TIMEOUT", default=6)
# All waits of a request together, also if the server does not respond and cannot apply the above.
REQUEST_SECONDS = DATABASE_STATEMENT_TIMEOUT and DATABASE_STATEMENT_TIMEOUT + 3


DATABASE_TIMEOUTS = {
    "lock_timeout": LOCK_WAIT_SECONDS,
    "statement_timeout": 0 if environment.is_command else DATABASE_STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
}
"""The timeouts that PostgreSQL applies, in seconds; 0 for no limit."""


def _database() -> dict[str, Any]:
    database = environment.database("DATABASE_URL", default=BASE_DIR / "db.sqlite3")
    options: dict[str, Any] = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock before the first read. Otherwise SQLite refuses one of two
        # transactions that read and then write ("database is locked"). In WAL mode, commits
        # survive a power cut with FULL, but not with NORMAL.
        options.setdefault("transaction_mode", "IMMEDIATE")
        options.setdefault("timeout", SQLITE_BUSY_SECONDS)
        options.setdefault("init_command", "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
    else:
        _set_server_options(database)
    return database


def _set_server_options(database: dict[str, Any]) -> None:
    """Set the limits of waits, and the pool, for a PostgreSQL server."""
    database["ENGINE"] = "products.db.backend"
    options: dict[str, Any] = database.setdefault("OPTIONS", {})
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    # Detects a server that disappeared without closing the connection.
    options.setdefault("tcp_user_timeout", CONNECTION_WAIT_SECONDS * 1000)
    timeouts = [f"-c {name}={seconds}s" for name, seconds in DATABASE_TIMEOUTS.items()]
    # Prepared statements find rows by their keys, so one plan fits all values.
    plans = "-c plan_cache_mode=force_generic_plan"
    options["options"] = " ".join(
        [*timeouts, plans, options.get("options", "")]
    ).rstrip()  # PgBouncer refuses a blank at the end.
    if DATABASE_POOL_SIZE:
        options["pool"] = {
            "min_size": 1,
            "max_size": DATABASE_POOL_SIZE,
            "timeout": _pool_wait(database["HOST"]),
            # The longest backoff between attempts to reconnect.
            "reconnect_timeout": _pool_wait(database["HOST"]),
            # A server that does not respond cannot apply its own timeout.
            "connection_class": connection_with_timeout(
                0 if environment.is_command else REQUEST_SECONDS
            ),
        }


def _databases() -> dict[str, dict[str, Any]]:
    """Return the database, and the copy that some reads go to, if there is one."""
    database, replica = _database(), environment.replica("DATABASE_REPLICA_URL")
    if replica is None:
        return {"default": database}
    if database["ENGINE"].endswith("sqlite3"):
        raise ImproperlyConfigured("DATABASE_REPLICA_URL needs a DATABASE_URL of PostgreSQL.")
    _set_server_options(replica)
    return {"default": database, REPLICA: replica}


def _pool_wait(hosts: str) -> int:
    """Return for how many seconds to wait for a connection of the pool.

    All hosts but the last may be dead. A request has other waits before and after this one.
    """
    seconds = max(CONNECTION_WAIT_SECONDS, CONNECT_SECONDS * hosts.count(",") + 1)
    return seconds if environment.is_command else min(seconds, 2 * CONNECTION_WAIT_SECONDS)


DATABASES = _databases()
# Off behind a transaction-mode pooler that does not support prepared statements.
PREPARED_STATEMENTS = environment.switch("DATABASE_PREPARED_STATEMENTS", default=True)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ----------------------------------------------------------------------------------------- HTTP

# Larger bodies get 413.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# A page with 1,000 lines of a reservation has a field for each.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
# The page that imports a file takes 5 MiB and the form around it. No upload reaches the disk.
UPLOAD_PAGE = "products_product_import"
FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_UPLOAD_BYTES = (5 * 1024 + 64) * 1024

# The request rate of each API key. REST framework would accept 1/solstice as one per second.
_RATE = r"[1-9][0-9]{0,8}/(s|sec|second|m|min|minute|h|hour|d|day)"
API_THROTTLE_RATE = (
    environment.pattern("API_THROTTLE_RATE", _RATE, description="a rate such as 600/min or 10/s")
    or None
)

# The number of proxies in front of the service that append to X-Forwarded-For. With None, REST
# framework would trust any value that a client sends.
NUM_PROXIES = environment.number("NUM_PROXIES", default=0)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["products.api.access.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["products.api.access.HasRole"],
    "DEFAULT_THROTTLE_CLASSES": ["products.api.access.KeyThrottle"],
    "DEFAULT_THROTTLE_RATES": {"key": API_THROTTLE_RATE, "failed_authentication": "30/min"},
    "NUM_PROXIES": NUM_PROXIES,
    # Each view set that reads a body names its parser.
    "DEFAULT_PARSER_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["products.api.drf.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "products.api.drf.JSONAlways",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_PAGINATION_CLASS": "products.api.pagination.StrictCursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "products.api.document.OperationSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "UNAUTHENTICATED_USER": None,
    # No field of a request can have this name.
    "NON_FIELD_ERRORS_KEY": "\0",
    "URL_FORMAT_OVERRIDE": None,
}

DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "products.api.problems.ProblemHandler",
    "EXCEPTION_FORMATTER_CLASS": "products.api.problems.ProblemFormatter",
    "ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True,
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.1",
    "TITLE": "Inventory service",
    "VERSION": "1.0.0",
    # The description is `products/api/guide.md`.
    "SERVERS": [{"url": PATH_PREFIX or "/", "description": "This service."}],
    "TAGS": [
        {"name": "products", "description": "Products and their stock levels."},
        {"name": "reservations", "description": "Units held for orders."},
        {"name": "operations", "description": "Many changes of stock in one request."},
        {"name": "events", "description": "The change feed of all products."},
        {"name": "webhooks", "description": "Receivers of stock events."},
        {"name": "health", "description": "Checks for load balancers."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # A PATCH requires the same fields as its POST.
    "COMPONENT_SPLIT_PATCH": False,
    "PREPROCESSING_HOOKS": ["products.api.document.only_canonical"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "products.api.document.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ErrorCode": "products.api.problems.ERROR_CODES",
        "EventSource": "products.models.StockEvent.Source",
        "EventType": "products.models.StockEvent.Type",
        "ReservationStatus": "products.models.Reservation.Status",
        "SettableWebhookState": "products.api.fields.SETTABLE_STATES",
        "WebhookState": "products.models.Subscription.State",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "REDOC_UI_SETTINGS": {
        "theme": {
            "typography": {
                "fontFamily": "system-ui, sans-serif",
                "headings": {"fontFamily": "system-ui, sans-serif"},
            }
        }
    },
    "SWAGGER_UI_SETTINGS": {"displayRequestDuration": True},
}

CORS_EXPOSE_HEADERS = ["ETag", "Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"]
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "x-request-id",
    # Tracing.
    "baggage",
    "sentry-trace",
    "traceparent",
    "tracestate",
    *environment.header_names("CORS_ALLOWED_HEADERS"),
]

# ------------------------------------------------------------------------------------- products

# The characters of SKUs, as in the brackets of a regular expression.
SKU_CHARACTERS = environment.sku_characters("SKU_CHARACTERS")

# ------------------------------------------------------------------------------ metrics and traces

# Without a token, there is no /metrics.
METRICS_TOKEN = environment.secret("METRICS_TOKEN")
# Where traces go. The SDK of OpenTelemetry reads this variable, too, and other OTEL_* variables.
OTEL_EXPORTER_OTLP_ENDPOINT = environment.collector("OTEL_EXPORTER_OTLP_ENDPOINT")

# ------------------------------------------------------------------------------------ publishing

# Where events go besides webhooks: a broker such as amqp://host, log: or memory:.
PUBLISHER_URL = environment.publisher("PUBLISHER_URL", default="webhook:")
# Networks of the inside to which webhooks may be sent, also by plain HTTP.
WEBHOOK_ALLOWED_NETWORKS = environment.networks("WEBHOOK_ALLOWED_NETWORKS")
# The time for the whole of a request to a webhook, and the longest wait after its first failure.
WEBHOOK_TIMEOUT_SECONDS = 15.0
WEBHOOK_RETRY_SECONDS = 5.0

# --------------------------------------------------------------------------------- static files

STATIC_URL = f"{PATH_PREFIX}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Serve straight from the packages, without `collectstatic`.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed file names need `collectstatic`, which development and tests skip.
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# ------------------------------------------------------------------------------------- security

SECURE_SSL_REDIRECT = environment.switch("SECURE_SSL_REDIRECT", default=not DEBUG)
# Load balancers, container health checks and Prometheus use plain HTTP.
SECURE_REDIRECT_EXEMPT = [rf"^{f'{PATH_PREFIX}/'.removeprefix('/')}(health(/live)?|metrics)$"]
SESSION_COOKIE_SECURE = environment.switch("SESSION_COOKIE_SECURE", default=not DEBUG)
CSRF_COOKIE_SECURE = environment.switch("CSRF_COOKIE_SECURE", default=not DEBUG)
SECURE_HSTS_SECONDS = environment.number("SECURE_HSTS_SECONDS", default=0)
# HSTS for subdomains and preloading would affect other services in the domain.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# Behind a proxy that ends TLS: the header that it sets to "https", such as X-Forwarded-Proto.
TRUSTED_PROXY_SSL_HEADER = environment.pattern(
    "TRUSTED_PROXY_SSL_HEADER",
    r"[A-Za-z0-9-]+",
    description="the name of a header such as X-Forwarded-Proto",
)
if TRUSTED_PROXY_SSL_HEADER:
    SECURE_PROXY_SSL_HEADER = (
        "HTTP_" + TRUSTED_PROXY_SSL_HEADER.upper().replace("-", "_"),
        "https",
    )

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# The allowed number of wrong passwords, and the period in seconds.
LOGIN_FAILURES_PER_NAME = (10, 60)
LOGIN_FAILURES_PER_ADDRESS = (30, 60)

# --------------------------------------------------------------------------------------- e-mail

_email = environment.email("EMAIL_URL")
SENDS_EMAIL = bool(_email)
EMAIL_BACKEND = _email.get("EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
EMAIL_HOST = _email.get("EMAIL_HOST") or ""
EMAIL_PORT = _email.get("EMAIL_PORT") or 0
EMAIL_HOST_USER = _email.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _email.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
# For each answer of the mail server, in seconds.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = environment.sender("DEFAULT_FROM_EMAIL", default="inventory@localhost")
# Who gets the digests of low stock and other alerts.
ALERT_EMAILS = environment.email_addresses("ALERT_EMAILS")

# ---------------------------------------------------------------------------------- back office

# "To order" is what a low product needs to have this many times its minimum.
REORDER_FACTOR = environment.number("REORDER_FACTOR", default=2, minimum=1, maximum=100)

# The reasons that the forms offer for a change of stock.
STOCK_REASONS = {
    "add": ["delivery", "return", "found", "correction"],
    "remove": ["breakage", "loss", "internal use", "correction"],
    "adjust": ["stocktake", "correction"],
    "release": ["cancelled", "out of stock", "correction"],
}


def _page(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    """Return a link of the sidebar for users who may view the model."""
    permission = f"{app}.view_{model}"
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": lambda request: request.user.has_perm(permission),
    }


def _is_products_active(request: Any) -> bool:
    """Whether the sidebar marks the products. The entry pages below them have their own links."""
    products = str(reverse_lazy("admin:products_product_changelist"))
    entries = (f"{products}receive/", f"{products}count/")
    return request.path.startswith(products) and not request.path.startswith(entries)


def _entry_page(title: str, icon: str, permission: str) -> dict[str, Any]:
    """Return a link of the sidebar for users who may enter such lines."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:products_product_{title.lower()}"),
        "permission": lambda request: request.user.has_perms(["products.view_product", permission]),
    }


UNFOLD = {
    "SITE_TITLE": "Inventory",
    "SITE_HEADER": "Inventory",
    "SITE_SUBHEADER": "Every unit accounted for",
    "SITE_ICON": lambda request: static("products/favicon.svg"),
    "SITE_URL": None,  # The user menu would link to a site, but there is no other site.
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("products/favicon.svg"),
        },
    ],
    "STYLES": [lambda request: static("products/frame.css")],
    "SCRIPTS": [
        lambda request: static("products/frame.js"),
        lambda request: static("products/dialogs.js"),
    ],
    "ACCOUNT": {
        "navigation": [
            {"title": "Your account", "link": reverse_lazy("own_page")},
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
        ],
    },
    "DASHBOARD_CALLBACK": "products.admin.dashboard.front_page",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        # Tailwind's teal. From 600 on, each is one step darker, for a contrast of 4.5 with white.
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(51.1% .096 186.391)",
            "700": "oklch(43.7% .078 188.216)",
            "800": "oklch(38.6% .063 188.416)",
            "900": "oklch(33% .055 190)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    {
                        "title": "Front page",
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    },
                    {
                        **_page("Products", "inventory_2", "products", "product"),
                        "active": _is_products_active,
                    },
                    _entry_page("Receive", "input", "products.operate_stock"),
                    _entry_page("Count", "rule", "products.adjust_stock"),
                    _page("Reservations", "shopping_cart", "products", "reservation"),
                    _page("Ledger", "receipt_long", "products", "stockevent"),
                ],
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _page("API keys", "key", "products", "apikey"),
                    _page("Webhooks", "webhook", "products", "subscription"),
                    _page("Staff", "person", "auth", "user"),
                    _page("Groups", "group", "auth", "group"),
                ],
            },
        ],
    },
}

# -------------------------------------------------------------------------------------- logging

LOG_LEVEL = environment.choice(
    "LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), default="INFO"
)
LOG_FORMAT = environment.choice("LOG_FORMAT", ("json", "plain"), default="json")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "products.request_id.LogFilter"},
        "short_refusals": {"()": "inventory_project.logs.ShortRefusals"},
    },
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
            "rename_fields": {
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
            },
        },
        "plain": {"()": "inventory_project.logs.PlainFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            # Commands print their result on standard output.
            "stream": f"ext://sys.{'stderr' if environment.is_command else 'stdout'}",
            "formatter": LOG_FORMAT,
            "filters": ["request_id", "short_refusals"],
        }
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Without Django's own handlers, each message is one line.
        "django": {"handlers": [], "propagate": True},
        # `products.api` logs each request, and `django.request` each failure.
        "django.server": {"handlers": [], "level": "CRITICAL", "propagate": True},
        "django.utils.autoreload": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}
