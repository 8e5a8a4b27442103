"""Database triggers: they keep the ledger append-only, and announce the ids of new events.

On SQLite, they also keep the index of the search (ADR 22), a table of the extension FTS5.

They are created after every `migrate`, not by a migration: on SQLite, a later migration that
rebuilds the table would drop its triggers silently.
"""

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# The upper 16 bits of the key of an advisory lock. They tell these locks from those of other
# applications. The lower 48 bits are the id of an event.
ANNOUNCEMENT_TAG = 0x51CE

_MESSAGE = "stock events are append-only"

_TERMS_CHANGE = {
    # In FTS5's language, an insert with the name of the table is a command.
    "INSERT": "INSERT INTO products_search (rowid, search_terms) VALUES (new.id, new.search_terms)",
    "DELETE": """
        INSERT INTO products_search (products_search, rowid, search_terms)
        VALUES ('delete', old.id, old.search_terms)
    """,
}

# Each term is a token: the terms are ASCII letters and digits, these characters, and all others
# above ASCII. The line breaks between them separate tokens.
_SEARCH_INDEX = """
    CREATE VIRTUAL TABLE IF NOT EXISTS products_search USING fts5 (
        search_terms, content = 'products_product', content_rowid = 'id', detail = 'none',
        columnsize = 0, prefix = '1 2 3', tokenize = "ascii tokenchars ' -_.^~'"
    )
"""

_INSTALL = {
    "postgresql": [
        f"""
        CREATE OR REPLACE FUNCTION products_refuse_ledger_change() RETURNS trigger
        LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{_MESSAGE}' USING ERRCODE = 'integrity_constraint_violation';
        END $$
        """,
        """
        CREATE OR REPLACE TRIGGER products_ledger_no_change
        BEFORE UPDATE OR DELETE OR TRUNCATE ON products_stockevent
        FOR EACH STATEMENT EXECUTE FUNCTION products_refuse_ledger_change()
        """,
        # For `products.feed`. Runs before the statement draws its first id. The lock of the first
        # statement covers all later ids of its transaction. A rollback to a savepoint ends both
        # the lock and the setting. pg_restore needs the name of the schema: its search path is
        # empty.
        f"""
        DO $install$ BEGIN
            EXECUTE format($create$
                CREATE OR REPLACE FUNCTION products_announce_events() RETURNS trigger
                LANGUAGE plpgsql AS $$
                BEGIN
                    IF current_setting('inventory.announced', true) IS DISTINCT FROM 'on' THEN
                        PERFORM pg_advisory_xact_lock_shared(
                            ({ANNOUNCEMENT_TAG}::bigint << 48) | (last_value + is_called::int)
                        ) FROM %s.products_stockevent_id_seq;
                        PERFORM set_config('inventory.announced', 'on', true);
                    END IF;
                    RETURN NULL;
                END $$
            $create$, (
                SELECT relnamespace::regnamespace FROM pg_class
                WHERE oid = 'products_stockevent'::regclass
            ));
        END $install$
        """,  # noqa: S608 (a constant)
        """
        CREATE OR REPLACE TRIGGER products_ledger_announce
        BEFORE INSERT ON products_stockevent
        FOR EACH STATEMENT EXECUTE FUNCTION products_announce_events()
        """,
    ],
    "sqlite": [
        f"""
        CREATE TRIGGER IF NOT EXISTS products_ledger_no_{verb.lower()}
        BEFORE {verb} ON products_stockevent
        BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END
        """
        for verb in ("UPDATE", "DELETE")
    ],
}

_INSTALL_SEARCH = [
    _SEARCH_INDEX,
    f"""
    CREATE TRIGGER products_search_insert AFTER INSERT ON products_product
    BEGIN {_TERMS_CHANGE["INSERT"]}; END
    """,
    f"""
    CREATE TRIGGER products_search_delete AFTER DELETE ON products_product
    BEGIN {_TERMS_CHANGE["DELETE"]}; END
    """,
    f"""
    CREATE TRIGGER products_search_update AFTER UPDATE OF search_terms ON products_product
    BEGIN {_TERMS_CHANGE["DELETE"]}; {_TERMS_CHANGE["INSERT"]}; END
    """,
    # Products may have changed while the triggers were missing.
    "INSERT INTO products_search (products_search) VALUES ('rebuild')",
]

_IS_SEARCH_MISSING = """
    SELECT EXISTS (SELECT 1 FROM pragma_table_info('products_product') WHERE name = 'search_terms')
       AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'products_search_insert')
"""

_REMOVE = {
    "postgresql": ["DROP TRIGGER IF EXISTS products_ledger_no_change ON products_stockevent"],
    "sqlite": [
        "DROP TRIGGER IF EXISTS products_ledger_no_update",
        "DROP TRIGGER IF EXISTS products_ledger_no_delete",
    ],
}


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers, unless they exist."""
    _execute(connection, _INSTALL)
    if connection.vendor == "sqlite":
        _install_search(connection)


def _install_search(connection: BaseDatabaseWrapper) -> None:
    """Create the index of the search and its triggers, unless they exist.

    Does nothing after a migration back to a version without search terms.
    """
    with connection.cursor() as cursor:
        [is_missing] = cursor.execute(_IS_SEARCH_MISSING).fetchone()
        for statement in _INSTALL_SEARCH if is_missing else []:
            cursor.execute(statement)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the append-only triggers, so that the ledger can be emptied. For tests only."""
    _execute(connection, _REMOVE)


def install_after_migrate(*, using: str, **_: Any) -> None:
    """Create the triggers. Receives `post_migrate`.

    Does nothing after a migration back to zero, when the table does not exist.
    """
    connection = connections[using]
    if "products_stockevent" in connection.introspection.table_names():
        install(connection)


def _execute(connection: BaseDatabaseWrapper, statements: dict[str, list[str]]) -> None:
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)
