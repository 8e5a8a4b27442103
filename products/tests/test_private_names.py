"""List the private and undocumented names of libraries that the project uses.

An upgrade may move such a name without a mention in its release notes. Then these tests fail with
the name, and with the part of the project that uses it.
"""

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import unfold
from django.template.loader import get_template

import inventory_project
import products

PROJECT = Path(products.__file__).parent.parent
TEMPLATES = PROJECT / "products" / "templates"


class Borrowed(NamedTuple):
    """Private or undocumented names in a library, and the part of the project that uses them."""

    where: str
    """A module or a package of the project."""
    owner: str
    """A module or a class of the library."""
    names: str
    """Attributes of the owner, separated by spaces. Empty if only the owner is used."""
    why: str


BORROWED = [
    # Python
    Borrowed(
        "inventory_project.wsgi", "logging", "_srcfile", "log records do not look up their source"
    ),
    # Granian
    Borrowed(
        "inventory_project.workers",
        "granian.server.MPServer",
        "_respawn_workers wrks respawned_wrks interrupt_children signal_handler_interrupt",
        "workers are replaced however often they are killed",
    ),
    # prometheus_client
    Borrowed(
        "products.shared_metrics",
        "prometheus_client.values",
        "ValueClass MultiProcessValue",
        "a replaced worker goes on with the counters of the one before",
    ),
    # Django: tracing
    Borrowed(
        "inventory_project.tracing",
        "django.db.backends.base.base.BaseDatabaseWrapper",
        "execute_wrappers",
        "statements of connections that Django creates later get spans",
    ),
    # python-dotenv
    Borrowed(
        "inventory_project.environment",
        "dotenv.parser",
        "parse_stream",
        "lines of .env that cannot be read are named by their number",
    ),
    # Django: connections
    Borrowed(
        "products.db",
        "django.db.backends.base.base.BaseDatabaseWrapper",
        "make_cursor make_debug_cursor queries_logged ensure_connection in_atomic_block",
        "prepared statements are wrapped and logged like Django's own",
    ),
    Borrowed(
        "products.db",
        "django.db.backends.base.features.BaseDatabaseFeatures",
        "max_query_params",
        "SQLite takes more parameters than Django assumes",
    ),
    Borrowed(
        "products.db.backend",
        "django.db.backends.postgresql.base",
        "",
        "documented as the way to change a backend, but not its methods",
    ),
    Borrowed(
        "products.db",
        "django.db.backends.postgresql.base.DatabaseWrapper",
        "pool get_new_connection",
        "the pool is drained after a lost connection, and keeps the deadline of a request",
    ),
    Borrowed(
        "products.apps",
        "django.db.backends.sqlite3.base.DatabaseWrapper",
        "",
        "its connections get a higher limit of parameters",
    ),
    Borrowed(
        "products.stock.runner",
        "django.db.backends.base.base.BaseDatabaseWrapper",
        "in_atomic_block savepoint_ids",
        "COMMIT is sent with a write only outside other transactions",
    ),
    Borrowed(
        "products.ledger",
        "django.db.backends.sqlite3.operations.DatabaseOperations",
        "convert_datetimefield_value",
        "SQLite returns times without a time zone",
    ),
    Borrowed(
        "products.files",
        "django.db.backends.base.base.BaseDatabaseWrapper",
        "wrap_database_errors is_usable",
        "COPY bypasses Django's cursor, and a broken connection has no table to drop",
    ),
    Borrowed(
        "products.copying",
        "django.db.backends.base.base.BaseDatabaseWrapper",
        "wrap_database_errors",
        "COPY bypasses Django's cursor",
    ),
    Borrowed(
        "products.copying",
        "django.db.utils.ConnectionHandler",
        "configure_settings settings",
        "the URL of the target is known only when the command runs",
    ),
    Borrowed(
        "products.copying",
        "django.db.migrations.executor.MigrationExecutor",
        "migration_plan",
        "both databases must have the migrations of this release",
    ),
    Borrowed(
        "products.copying",
        "django.db.migrations.recorder.MigrationRecorder",
        "Migration",
        "the table of migrations belongs to the target",
    ),
    Borrowed(
        "products.triggers",
        "django.db.backends.base.introspection.BaseDatabaseIntrospection",
        "table_names",
        "triggers need the table to exist",
    ),
    Borrowed(
        "products.tests.flush",
        "django.db.migrations.recorder.MigrationRecorder",
        "Migration",
        "the flush of tests keeps this table",
    ),
    Borrowed(
        "products.tests.db",
        "django.db.utils.ConnectionHandler",
        "",
        "a test opens connections with its own settings",
    ),
    # Django: the ORM
    Borrowed(
        "products.db.compiled",
        "django.db.models.base.ModelState",
        "adding db",
        "instances are built without `from_db`",
    ),
    Borrowed(
        "products.db.compiled",
        "django.db.models.sql.query.Query",
        "get_compiler",
        "a query is compiled once",
    ),
    Borrowed(
        "products.db.compiled",
        "django.db.models.sql.compiler.SQLCompiler",
        "as_sql select get_converters apply_converters",
        "a query is compiled once, and its rows are converted like Django's",
    ),
    Borrowed(
        "products.models.fields",
        "django.db.models.sql.compiler.SQLCompiler",
        "",
        "the type of a lookup's argument",
    ),
    Borrowed(
        "products.files",
        "django.db.models.expressions.Combinable",
        "",
        "the type of an exported column",
    ),
    # Django: the rest
    Borrowed(
        "products.admin.wording",
        "django.utils.text",
        "Truncator",
        "tables shorten the long texts of an edit",
    ),
    Borrowed(
        "products.files.adjustments",
        "django.utils.text",
        "get_text_list",
        "an error lists the columns of the operations",
    ),
    Borrowed(
        "products.files.xlsx",
        "django.utils.text",
        "get_text_list",
        "an error lists the sheets of a workbook",
    ),
    Borrowed(
        "products.files.xlsx",
        "openpyxl.worksheet._read_only.ReadOnlyWorksheet",
        "_get_source",
        "the attributes of rows tell which are hidden",
    ),
    Borrowed(
        "products.files.xlsx",
        "openpyxl.xml.functions",
        "iterparse",
        "the attributes of rows are read with openpyxl's parser",
    ),
    Borrowed(
        "products.api.retries",
        "django.utils.http",
        "parse_etags",
        "If-Match is parsed like Django does",
    ),
    Borrowed(
        "products.admin.dialogs",
        "django.utils.http",
        "url_has_allowed_host_and_scheme",
        "a dialog redirects only to pages of this service",
    ),
    Borrowed(
        "products.groups", "django.apps.registry", "Apps apps", "groups are created after `migrate`"
    ),
    Borrowed(
        "products.groups",
        "django.contrib.auth.management",
        "create_permissions",
        "the permissions must exist before the groups",
    ),
    Borrowed(
        "products.admin",
        "django.contrib.admin.options",
        "IncorrectLookupParameters",
        "an invalid filter gets the same response as in Django's own lists",
    ),
    Borrowed(
        "products.admin",
        "django.contrib.admin.options.ModelAdmin",
        "opts changeform_view",
        "custom pages look like Django's, and get the same context",
    ),
    Borrowed(
        "products.admin.base",
        "django.contrib.admin.options.ModelAdmin",
        "_changeform_view",
        "a form that calls `stock` runs without a transaction",
    ),
    Borrowed(
        "products.admin",
        "django.contrib.admin.views.main.ChangeList",
        "get_results result_count full_result_count url_for_result",
        "long lists are not fully counted, and keys are linked by their prefix",
    ),
    Borrowed(
        "products.admin.rows",
        "django.contrib.admin.templatetags.admin_urls",
        "add_preserved_filters",
        "the page of a row leads back to the filtered list",
    ),
    Borrowed(
        "products.admin.todo",
        "django.utils.timesince",
        "timesince timeuntil",
        "the front page says how long a reservation is overdue",
    ),
    Borrowed(
        "products.admin.days",
        "django.contrib.admin.filters.FieldListFilter",
        "used_parameters field_path",
        "the day filter reads its parameters",
    ),
    Borrowed(
        "products.admin.editing",
        "django.forms.boundfield.BoundField",
        "html_initial_name",
        "a form knows which value its page showed",
    ),
    Borrowed(
        "products.admin",
        "django.template.defaultfilters",
        "pluralize",
        "messages use plurals like templates",
    ),
    Borrowed(
        "products.admin",
        "django.contrib.humanize.templatetags.humanize",
        "intcomma",
        "messages format numbers like templates",
    ),
    Borrowed(
        "products.tests.conftest",
        "django.test.TransactionTestCase",
        "_fixture_teardown",
        "the flush after a test must be able to empty the ledger",
    ),
    Borrowed(
        "products.tests.api.test_access",
        "django.urls",
        "get_resolver URLPattern URLResolver",
        "a test visits every route",
    ),
    Borrowed(
        "products.tests.admin.test_rights",
        "django.contrib.admin.utils",
        "quote",
        "a test builds the URL of a row like the admin",
    ),
    # psycopg
    Borrowed(
        "products.db.prepared",
        "psycopg.generators",
        "send execute fetch_many",
        "prepared statements are sent and read in one round trip",
    ),
    Borrowed(
        "products.db.pooler",
        "psycopg.generators",
        "send fetch_many",
        "a statement is prepared and run on one server connection",
    ),
    Borrowed(
        "products.db.pooler",
        "psycopg.pq.PGconn",
        "backend_pid send_prepare send_query_prepared enter_pipeline_mode pipeline_sync "
        "exit_pipeline_mode",
        "a statement is prepared and run on one server connection",
    ),
    Borrowed("products.db.pooler", "psycopg.pq.abc.PGconn", "", "its type"),
    Borrowed(
        "products.db.pooler", "psycopg.pq.abc.PGresult", "status nfields get_value", "its responses"
    ),
    Borrowed(
        "products.db.pooler",
        "psycopg.errors",
        "error_from_result",
        "errors of libpq are raised as psycopg's",
    ),
    Borrowed("products.db", "psycopg.abc.PQGen", "", "the type of such a generator"),
    Borrowed("products.db", "psycopg.Connection", "wait pgconn", "it runs such a generator"),
    Borrowed(
        "products.db.prepared",
        "psycopg.pq.PGconn",
        "transaction_status send_prepare send_query send_query_params send_query_prepared "
        "enter_pipeline_mode pipeline_sync exit_pipeline_mode",
        "prepared statements use libpq directly",
    ),
    Borrowed(
        "products.db.connection",
        "psycopg.pq.PGconn",
        "ping host hostaddr port user db",
        "a command asks whether a silent server still takes connections",
    ),
    Borrowed("products.db.prepared", "psycopg.pq.abc.PGconn", "", "its type"),
    Borrowed("products.db.prepared", "psycopg.pq.abc.PGresult", "status ntuples", "its responses"),
    Borrowed(
        "products.db.prepared",
        "psycopg.adapt.Transformer",
        "set_pgresult load_rows",
        "rows are read without a cursor",
    ),
    Borrowed(
        "products.db.prepared",
        "psycopg.errors",
        "error_from_result",
        "errors of libpq are raised as psycopg's",
    ),
    Borrowed(
        "products.db.prepared",
        "psycopg.Cursor",
        "_query",
        "Django's query log reads it from our cursor",
    ),
    # REST framework
    Borrowed(
        "products.api.drf",
        "rest_framework.views.APIView",
        "default_response_headers",
        "`Allow` is sent only with a 405",
    ),
    Borrowed(
        "products.api.drf",
        "rest_framework.pagination.CursorPagination",
        "get_next_link get_previous_link encode_cursor base_url cursor_query_param page has_next "
        "has_previous",
        "the links of an empty page skip no row",
    ),
    Borrowed("products.api.drf", "rest_framework.pagination.Cursor", "", "the start of a list"),
    Borrowed(
        "products.api.pagination",
        "rest_framework.pagination.CursorPagination",
        "decode_cursor encode_cursor get_page_size get_ordering ordering",
        "a cursor contains its order, and an invalid cursor is refused",
    ),
    Borrowed(
        "products.api.pagination",
        "rest_framework.pagination.CursorPagination",
        "page cursor has_next has_previous next_position previous_position",
        "a page of reservations with many lines is shortened",
    ),
    Borrowed(
        "products.api.drf",
        "rest_framework.throttling.SimpleRateThrottle",
        "parse_rate rate",
        "requests are counted in the database",
    ),
    Borrowed(
        "products.api.drf",
        "rest_framework.utils.urls",
        "remove_query_param",
        "the link to the first page",
    ),
    Borrowed(
        "products.api.drf", "rest_framework.fields", "Field empty", "a missing value is recognized"
    ),
    # drf-spectacular, drf-standardized-errors and other extensions of REST framework
    Borrowed(
        "products.api.serializers",
        "drf_spectacular.openapi.AutoSchema",
        "_map_serializer",
        "`additionalProperties: false` is added to its schemas",
    ),
    Borrowed(
        "products.api.docs",
        "drf_spectacular.renderers",
        "OpenApiJsonRenderer",
        "the document is JSON",
    ),
    Borrowed(
        "products.api.problems",
        "drf_standardized_errors.formatter.ExceptionFormatter",
        "run exc original_exc context",
        "an error becomes a problem",
    ),
    Borrowed(
        "products.api.problems",
        "drf_standardized_errors.handler.ExceptionHandler",
        "convert_known_exceptions get_response context",
        "an error becomes a problem",
    ),
    Borrowed(
        "products.api.drf",
        "django_filters.filterset.BaseFilterSet",
        "get_form_class",
        "the class of the form is created once",
    ),
    Borrowed(
        "products.api.views",
        "django_filters.FilterSet",
        "base_filters",
        "a query may contain the names of filters",
    ),
    Borrowed(
        "inventory_project.middleware",
        "corsheaders.middleware.CorsMiddleware",
        "is_enabled",
        "origins are checked only if one is allowed",
    ),
    Borrowed(
        "products.admin.lists",
        "django.contrib.admin.views.main",
        "SEARCH_VAR",
        "the search term has a chip like a filter",
    ),
    Borrowed(
        "products.admin.lists",
        "django.contrib.admin.views.main.ChangeList",
        "get_query_string get_filters_params has_active_filters params query",
        "chips show the filters of a list and lead to the list without them",
    ),
    # Unfold
    Borrowed("products.admin", "unfold.views.ChangeList", "", "the list that Unfold renders"),
    Borrowed(
        "products.admin.rows",
        "unfold.templatetags.unfold_list",
        "CHECKBOX_CLASSES LINK_CLASSES ROW_CLASSES result_headers",
        "the rows of long lists look like Unfold's",
    ),
    Borrowed(
        "products.tests.admin.test_rows",
        "unfold.templatetags.unfold_list",
        "results",
        "a test compares the rows of long lists with Unfold's",
    ),
    Borrowed(
        "products.admin.rows",
        "unfold.utils",
        "display_for_field display_for_label display_for_value",
        "the cells of long lists look like Unfold's",
    ),
    Borrowed(
        "products.admin.dialogs", "unfold.dataclasses.ActionDialog", "", "the texts of a dialog"
    ),
    Borrowed(
        "products.admin.dialogs",
        "unfold.forms.BaseDialogForm",
        "object_id render_before_template",
        "a dialog knows its row and renders its head",
    ),
    Borrowed(
        "products.admin.days",
        "unfold.contrib.filters.forms.RangeDateForm",
        "",
        "the days of a filter have Unfold's calendars",
    ),
    Borrowed(
        "products.admin",
        "unfold.mixins.action_model_admin.ActionModelAdminMixin",
        "get_actions_detail",
        "a closed reservation offers no actions",
    ),
]

# Private by name, but documented.
DOCUMENTED_ATTRIBUTES = {
    *("_meta", "_state", "_default_manager"),  # Django's models
    *("_asdict", "_replace", "_fields"),  # Python's named tuples
}

LIBRARIES = (
    "django",
    "drf_spectacular",
    "drf_standardized_errors",
    "dotenv",
    "granian",
    "psycopg",
    "rest_framework",
    "unfold",
)
# Documented modules and names.
DOCUMENTED = {
    "django.http.response.HttpResponseBase",  # Documented in django.http.
    *("django", "django.apps", "django.conf", "django.dispatch", "django.forms", "django.http"),
    *("django.contrib", "django.contrib.admin", "django.contrib.admin.models"),
    *("django.contrib.auth", "django.contrib.auth.admin", "django.contrib.auth.middleware"),
    *(
        "django.contrib.auth.models",
        "django.contrib.auth.views",
        "django.contrib.contenttypes.models",
    ),
    *("django.contrib.messages.middleware", "django.contrib.sessions.middleware"),
    *("django.contrib.sessions.models", "django.core.exceptions"),
    *("django.core.files.uploadedfile", "django.core.mail", "django.core.management"),
    *("django.core.management.base", "django.core.validators"),
    *("django.core.paginator", "django.core.signals", "django.core.wsgi", "django.db"),
    "django.middleware.common",
    *("django.db.backends.signals", "django.db.models", "django.db.models.expressions.RawSQL"),
    *("django.db.models.functions", "django.db.models.lookups.GreaterThan"),
    *("django.db.models.lookups.GreaterThanOrEqual", "django.db.models.lookups.LessThan"),
    *("django.db.models.lookups.LessThanOrEqual", "django.db.models.signals"),
    *(
        "django.shortcuts",
        "django.template.Library",
        "django.template.loader",
        "django.template.response",
    ),
    *("django.templatetags.static", "django.test", "django.test.utils", "django.urls.include"),
    *("django.urls.Resolver404", "django.urls.get_script_prefix", "django.urls.resolve"),
    *("django.urls.path", "django.urls.reverse", "django.urls.reverse_lazy", "django.utils"),
    *("django.utils.functional", "django.utils.html", "django.utils.safestring"),
    "django.views.decorators.csrf",
    *("django.views.decorators.debug", "django.views.decorators.http", "django.views.generic"),
    "granian.constants",
    *("psycopg", "psycopg.abc.Buffer", "psycopg.adapt.Loader", "psycopg.errors"),
    *("django.urls.Resolver404", "django.urls.resolve", "django.utils.encoding.escape_uri_path"),
    "psycopg.conninfo.make_conninfo",
    *("psycopg.pq.ExecStatus", "psycopg.pq.Ping", "psycopg.pq.TransactionStatus"),
    *("rest_framework", "rest_framework.authentication", "rest_framework.decorators"),
    *("rest_framework.exceptions", "rest_framework.negotiation", "rest_framework.parsers"),
    *("rest_framework.permissions", "rest_framework.renderers", "rest_framework.request"),
    *("rest_framework.response", "rest_framework.routers", "rest_framework.serializers"),
    *("rest_framework.settings", "rest_framework.test", "rest_framework.throttling"),
    *("rest_framework.views", "rest_framework.viewsets"),
    *("drf_spectacular.extensions", "drf_spectacular.utils", "drf_spectacular.views"),
    "drf_standardized_errors.formatter.ExceptionFormatter",
    "drf_standardized_errors.handler.ExceptionHandler",
    *("unfold.admin", "unfold.contrib.filters.admin"),
    *("unfold.decorators", "unfold.forms", "unfold.widgets"),
}

# Texts in the templates of libraries that our templates and scripts rely on.
IN_TEMPLATES = [
    ("unfold/helpers/dialog.html", 'id="dialog"', "dialogs.js finds the dialog by it"),
    ("unfold/helpers/dialog.html", 'id="dialog-form"', "dialogs.js puts its message before it"),
    ("unfold/helpers/modal.html", 'id="modal-content"', "dialogs.js finds the dialog by it"),
    ("admin/change_list.html", "filterOpen = true", "frame.js keeps the focus in the filters"),
    ("unfold/helpers/change_list_filter.html", 'id="changelist-filter"', "frame.js finds them"),
    ("admin/nav_sidebar.html", 'id="nav-sidebar"', "frame.js keeps the focus in it"),
    ("admin/search_form.html", 'id="searchbar"', "frame.js moves the focus to it"),
    ("admin/search_form.html", 'id="changelist-search"', "frame.js tells it from other searches"),
    ("unfold/layouts/skeleton.html", "sidebarMobileOpen: false", "frame.js opens the sidebar"),
    ("unfold/layouts/skeleton.html", "sidebarDesktopOpen: ", "frame.js opens the sidebar"),
    ("admin/pagination.html", "cl.paginator.template_name", "a bounded list has its own"),
    (
        "unfold/helpers/messages.html",
        '"unfold/helpers/messages/success.html" with message=message',
        "our template of a success message offers to undo it",
    ),
]


# -------------------------------------------------------------------------------- borrowed names


def has(owner: Any, name: str) -> bool:
    """Return whether a module or a class has a name. Methods of a class may set it on `self`."""
    if hasattr(owner, name):
        return True
    bases = owner.__mro__[:-1] if inspect.isclass(owner) else ()
    return any(re.search(rf"\bself\.{name}\b.* = ", source_of_class(base)) for base in bases)


def source_of_class(made: type) -> str:
    try:
        return inspect.getsource(made)
    except (OSError, TypeError):
        return ""  # Compiled, or created by a function.


def sources(where: str) -> list[Path]:
    """Return the files of a module, or of all modules of a package."""
    path = PROJECT.joinpath(*where.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("borrowed", BORROWED, ids=lambda row: f"{row.where} {row.owner}")
def test_a_borrowed_name_exists(borrowed: Borrowed) -> None:
    where, path, names, why = borrowed
    try:
        owner = pkgutil.resolve_name(path)
    except (AttributeError, ImportError) as error:
        pytest.fail(f"{path} has moved ({error}). {where} uses it: {why}.")
    moved = [name for name in names.split() if not has(owner, name)]

    assert not moved, f"{path} has lost {', '.join(moved)}. {where} uses it: {why}."


@pytest.mark.parametrize("borrowed", BORROWED, ids=lambda row: f"{row.where} {row.owner}")
def test_a_borrowed_name_is_still_used(borrowed: Borrowed) -> None:
    files = [path for path in sources(borrowed.where) if path != Path(__file__)]
    assert all(path.exists() for path in files), (
        f"{borrowed.where} does not exist. Correct the table."
    )
    text = "\n".join(path.read_text() for path in files)
    names = borrowed.names.split() or [borrowed.owner.rpartition(".")[2]]
    unused = [name for name in names if not re.search(rf"\b{name}\b", text)]

    assert not unused, (
        f"{borrowed.where} no longer uses {', '.join(unused)}. Remove it from the table."
    )


@pytest.mark.parametrize(("template", "text", "why"), IN_TEMPLATES)
def test_a_template_of_a_library_has_the_text_that_ours_need(
    template: str, text: str, why: str
) -> None:
    assert text in source_of(template), f"{template} no longer has {text}: {why}."


# ---------------------------------------------------------------------------------- completeness

Tree = tuple[str, ast.Module]


def trees() -> Iterator[Tree]:
    """Yield each module of the project with its path, except migrations."""
    for package in (products, inventory_project):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(PROJECT)), ast.parse(path.read_text())


def names_in_table() -> set[str]:
    return {name for row in BORROWED for name in row.names.split()}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def own_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines, including attributes of `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                yield node.attr


def test_every_private_attribute_of_a_library_is_in_the_table() -> None:
    parsed = list(trees())
    known = {name for _, tree in parsed for name in own_names(tree)}
    known |= names_in_table() | DOCUMENTED_ATTRIBUTES
    missing = sorted(
        f"{path} line {node.lineno}: {node.attr}"
        for path, tree in parsed
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in known
    )

    assert not missing, f"Private names of a library that the table lacks: {missing}"


def test_every_overridden_private_attribute_is_in_the_table() -> None:
    """The test above does not notice a subclass that redefines a private name."""
    replaced = set()
    for path, tree in trees():
        if path.startswith("products/tests/"):
            continue
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                _, *bases = getattr(module, node.name).__mro__
                foreign = [base for base in bases if not base.__module__.startswith("products.")]
                replaced |= {
                    f"{path}: {name}"
                    for name in own_names(ast.Module(node.body, []))
                    if is_private(name) and any(name in vars(base) for base in foreign)
                    if name not in names_in_table()
                }

    assert not replaced, f"Private names of a library that the table lacks: {sorted(replaced)}"


def test_every_undocumented_import_is_in_the_table() -> None:
    listed = {row.owner for row in BORROWED}
    listed |= {f"{row.owner}.{name}" for row in BORROWED for name in row.names.split()}
    imported = {
        (path, node.module, name.name)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES
        for name in node.names
    }
    missing = sorted(
        f"{path}: {module}.{name}"
        for path, module, name in imported
        if module not in DOCUMENTED and f"{module}.{name}" not in DOCUMENTED | listed
    )

    assert not missing, f"Undocumented imports that the table lacks: {missing}"


# -------------------------------------------------------------------------------------- templates


def source_of(name: str) -> str:
    template: Any = get_template(name)
    return Path(template.origin.name).read_text()


OURS = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))


@pytest.mark.parametrize("name", OURS)
def test_a_template_uses_only_existing_tags_templates_and_blocks(name: str) -> None:
    text = source_of(name)

    for other in re.findall(r"""["']([a-z_/]+\.html)["']""", text):
        get_template(other)
    inherited = ""
    parent = text
    while extended := re.search(r"""{% extends ["']([^"']+)["'] %}""", parent):
        parent = source_of(extended[1])
        inherited += parent
    if inherited:
        filled = set(re.findall(r"{% block (\S+)", text))
        lost = filled - set(re.findall(r"{% block (\S+)", inherited))
        assert not lost, f"{name} fills blocks that its parents no longer have: {lost}"


# The templates of Unfold that ours replace, and the start of the SHA-256 of each.
REPLACED = {
    "admin/base.html": "2ce9250b3c64",
    "unfold/helpers/command.html": "ae6ce324d853",
    "unfold/helpers/dialog.html": "e961b19a9a2f",
    "unfold/helpers/messages/success.html": "815e51eab41f",
    "unfold/helpers/modal.html": "fa0832c6ded6",
    "unfold/helpers/navigation.html": "fd819dae3473",
    "unfold/helpers/navigation_user.html": "4c9ba58b3f21",
    "unfold/helpers/tab_actions.html": "2883f8c5b35d",
    "unfold/helpers/theme_switch.html": "c8e659df65f5",
    "unfold/helpers/welcomemsg.html": "e8eab02522ba",
    "unfold/layouts/unauthenticated.html": "768501529f1a",
    "unfold/templatetags/preserve_changelist_filters.html": "b31da3521a20",
}

# Our templates that look like those of Unfold, and the start of the SHA-256 of each of theirs.
ALIKE = {
    "products/admin/row_menu.html": ("unfold/helpers/actions_row.html", "a322f5b53d77"),
    "products/admin/rows.html": ("admin/change_list_results.html", "1a2a072727ae"),
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_replaced_template_of_unfold_is_unchanged(name: str) -> None:
    theirs = Path(unfold.__path__[0], "templates", name).read_bytes()

    assert (PROJECT / "inventory_project" / "templates" / name).exists()
    assert hashlib.sha256(theirs).hexdigest().startswith(REPLACED[name]), (
        f"Unfold has changed {name}. Compare it with our copy, then correct the table."
    )


@pytest.mark.parametrize("name", ALIKE)
def test_the_template_of_unfold_that_ours_looks_like_is_unchanged(name: str) -> None:
    theirs, digest = ALIKE[name]
    text = Path(unfold.__path__[0], "templates", theirs).read_bytes()

    assert (TEMPLATES / name).exists()
    assert hashlib.sha256(text).hexdigest().startswith(digest), (
        f"Unfold has changed {theirs}. Compare it with {name}, then correct the table."
    )


def test_every_replaced_template_is_in_the_table() -> None:
    ours = PROJECT / "inventory_project" / "templates"
    names = {path.relative_to(ours).as_posix() for path in ours.rglob("*.html")}

    assert names == set(REPLACED)


def test_the_form_of_filters_is_that_of_unfold_but_starts_at_the_first_page() -> None:
    name = "unfold/templatetags/preserve_changelist_filters.html"
    theirs = Path(unfold.__path__[0], "templates", name).read_text()
    field = '<input type="hidden" name="{{ key }}" value="{{ value }}">'

    kept = f'{{% if key != "p" and key != "e" %}}{field}{{% endif %}}'
    assert source_of(name) == theirs.replace(field, kept), "Renew our copy of Unfold's template."
    assert field in theirs
