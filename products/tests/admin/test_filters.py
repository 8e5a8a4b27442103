"""Lists can be filtered by their own filters only."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from products.models import ApiKey
from products.tests.factories import ProductFactory

pytestmark = pytest.mark.django_db

LISTS: dict[str, Any] = {
    model._meta.label_lower.replace(".", "_"): admin.site.get_model_admin(model)
    for model in apps.get_models()
    if admin.site.is_registered(model)
}


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("name", LISTS)
def test_every_filter_of_a_list_works(root: Client, name: str) -> None:
    ProductFactory.create()
    page = root.get(reverse(f"admin:{name}_changelist"))
    offered = {
        parameter
        for filter_spec in page.context["cl"].filter_specs
        for parameter in filter_spec.expected_parameters()
        if not parameter.endswith("__isnull")
    }

    assert set(LISTS[name].filter_parameters) == offered
    text = page.content.decode()
    fields = text[text.index('<form id="filter-form"') :] if offered else ""
    assert all(f'name="{parameter}"' in fields for parameter in offered)
    for parameter in offered:
        answer = root.get(reverse(f"admin:{name}_changelist"), {parameter: "1"}, follow=True)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("products_product", r"name__regex"),
        ("products_product", "description__icontains"),
        ("products_product", "quantity__in"),
        ("products_product", "sku"),
        ("products_product", "events__actor__startswith"),
        ("products_reservation", "reference__regex"),
        ("products_reservation", "lines__product__name__iregex"),
        ("products_stockevent", "reason__regex"),
        ("products_apikey", "hashed_key__startswith"),
        ("products_apikey", "id__startswith"),
        ("auth_user", "password__startswith"),
        ("auth_user", "username__regex"),
        ("auth_group", "name__regex"),
    ],
)
def test_a_lookup_that_no_filter_offers_is_refused(root: Client, name: str, lookup: str) -> None:
    ApiKey.issue(name="shop", role="read")
    ProductFactory.create(name="a" * 40)

    answer = root.get(reverse(f"admin:{name}_changelist"), {lookup: r"(.*)*\1\1x"})

    assert answer.status_code == 400


def test_the_page_of_a_row_leads_back_to_the_filtered_list(root: Client) -> None:
    cup = ProductFactory.create(minimum_stock_level=50)
    page = reverse("admin:products_product_changelist")
    row = reverse("admin:products_product_change", args=[cup.pk])

    shown = root.get(row, {"_changelist_filters": "q=sk&stock=low"}).content.decode()

    assert f'href="{page}?q=sk&amp;stock=low"' in shown
    assert f'href="{page}"' in root.get(row).content.decode()
