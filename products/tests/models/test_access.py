"""Claims of idempotency keys belong to the name of a client."""

from importlib import import_module

import pytest
from django.core.management import call_command

from products.models import IdempotencyKey
from products.tests.factories import ApiKeyFactory

MIGRATION = import_module("products.migrations.0015_claims_by_name")
[(_, BEFORE)] = MIGRATION.Migration.dependencies


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_migration_moves_claims_to_client_names_and_drops_refusals() -> None:
    ApiKeyFactory.create(name="webshop", revoked=True)
    ApiKeyFactory.create(name="webshop")
    for key, status in [("done", 200), ("refused", 409)]:
        IdempotencyKey.objects.create(
            source="api", caller="webshop", key=key, fingerprint="f", status=status
        )

    call_command("migrate", "products", BEFORE, verbosity=0)
    call_command("migrate", verbosity=0)

    kept = IdempotencyKey.objects.values_list("source", "caller", "key", "status")
    assert list(kept) == [("api", "webshop", "done", 200)]
