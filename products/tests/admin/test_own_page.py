"""The user's own page: role, rights, last login and latest changes."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from products import stock
from products.admin.account import LATEST_CHANGES
from products.models import StockEvent
from products.tests.admin.browsers import browser_of
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db

PAGE = reverse("own_page")


def by(name: str) -> stock.Actor:
    return stock.Actor(name, StockEvent.Source.ADMIN)


def test_it_shows_the_role_and_what_the_user_may_do() -> None:
    user = User.objects.create_user(username="Vera", first_name="Vera", is_staff=True)
    user.groups.set(Group.objects.filter(name="Stock clerk"))
    browser = Client()
    browser.force_login(user)

    page = browser.get(PAGE).content.decode()

    assert "Stock clerk" in page
    assert "<li>add, remove, reserve, release and ship units</li>" in page
    assert "count stock" not in page
    assert reverse("admin:password_change") in page


def test_it_shows_the_users_own_changes_only() -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    browser = browser_of("Vera", "view_stockevent")
    for n in range(LATEST_CHANGES + 1):
        stock.add(sku="CUP", amount=1, reference=f"vera-{n}", by=by("Vera"))
    stock.add(sku="CUP", amount=1, reference="not-hers", by=ACTOR)

    response = browser.get(PAGE)

    page = response.content.decode()
    assert "not-hers" not in page
    assert "vera-10" in page
    assert "vera-0<" not in page
    link = re.search(r'href="([^"]+)">All in the ledger', page)
    assert link
    everything = browser.get(link[1]).content.decode()
    assert "vera-0" in everything
    assert "not-hers" not in everything


def test_changes_need_the_permission_to_see_the_ledger() -> None:
    ProductFactory.create(sku="CUP", quantity=100)
    browser = browser_of("Vera")
    stock.add(sku="CUP", amount=1, reference="hers", by=by("Vera"))

    page = browser.get(PAGE).content.decode()

    assert "hers" not in page
    assert "Ask an administrator to give you a role." in page


@pytest.mark.parametrize("is_staff", [None, False])
def test_it_needs_a_login_of_the_back_office(is_staff: bool | None) -> None:
    browser = Client()
    if is_staff is not None:
        browser.force_login(User.objects.create_user(username="Guest", is_staff=is_staff))

    response = browser.get(PAGE)

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


def test_the_user_menu_leads_to_it() -> None:
    page = browser_of("Vera").get(reverse("admin:index")).content.decode()

    assert f'href="{PAGE}"' in page
    assert f'href="{reverse("admin:password_change")}"' in page
