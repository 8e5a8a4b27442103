"""The Filters panel of every list, opened and used like a person does."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from products import stock
from products.models import ApiKey
from products.tests.browser.steps import apply_filters, log_in, make_staff, open_list, open_menu
from products.tests.factories import ACTOR, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

LISTS: dict[str, list[tuple[str, str, str, str | None]]] = {
    "Products": [
        ("By stock", "Low stock", "MUG", "CUP"),
        ("By last update", "In the last hour", "MUG", None),
        ("By archive status", "Archived only", "OLD", "CUP"),
    ],
    "API keys": [
        ("By role", "Read", "reporter", "webshop"),
        ("By status", "Revoked", "webshop", "reporter"),
    ],
    "Ledger": [
        ("By type", "Reserved", "order-1", "delivery"),
        ("By source", "Command", "order-1", None),
        ("By user or client", "Ann", "delivery", "order-1"),
    ],
    "Reservations": [
        ("By status", "Released", "order-2", "order-1"),
        ("By expiry", "Within an hour", "order-1", "order-2"),
    ],
    "Staff": [
        ("By staff status", "No", "Guest", "Vera"),
        ("By superuser status", "Yes", "Ada", "Vera"),
        ("By active", "No", "Guest", "Vera"),
        ("By groups", "Stock viewer", "Vera", "Guest"),
    ],
}
"""The filters of each list: the label, a choice, and a text of a row that it shows or hides."""


@pytest.fixture
def shop(ada: User) -> User:
    """Make rows for every list, and return a superuser."""
    ann = stock.Actor("Ann", ACTOR.source)
    ProductFactory.create(sku="CUP")
    ProductFactory.create(sku="MUG", minimum_stock_level=50)
    ProductFactory.create(sku="OLD")
    stock.edit(sku="OLD", archived=True, by=ACTOR)
    stock.add(sku="CUP", amount=1, reason="delivery", by=ann)
    stock.reserve(sku="CUP", amount=1, reference="order-1", expires_in=600, by=ACTOR)
    held = stock.reserve(sku="CUP", amount=1, reference="order-2", by=ACTOR)
    stock.release(reservation_id=held.pk, by=ACTOR)
    ApiKey.issue(name="reporter", role="read")
    ApiKey.issue(name="webshop", role="operate").revoke(by="Ada")
    make_staff("Vera", "Stock viewer")
    User.objects.create_user("Guest", is_active=False)
    return ada


@pytest.mark.parametrize("title", LISTS)
def test_filters_are_applied_from_the_panel(page: Page, shop: User, title: str) -> None:
    log_in(page, shop)
    rows = page.locator("#result_list")

    for label, choice, found, hidden in LISTS[title]:
        open_list(page, title)
        if hidden:
            expect(rows).to_contain_text(hidden)
        apply_filters(page, **{label: choice})

        expect(rows).to_contain_text(found)
        if hidden:
            expect(rows).not_to_contain_text(hidden)


def test_applying_filters_on_a_later_page_shows_the_first_one(page: Page, ada: User) -> None:
    for number in range(60):
        ProductFactory.create(sku=f"CUP-{number:02}", minimum_stock_level=30 if number == 7 else 0)
    log_in(page, ada)
    open_list(page, "Products")
    page.get_by_role("link", name="2", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("CUP-59")

    apply_filters(page, By_stock="Low stock")

    expect(page.locator("#result_list")).to_contain_text("CUP-07")


def test_a_card_leads_to_a_list_whose_filter_is_shown_kept_and_removed(
    page: Page, ada: User
) -> None:
    ProductFactory.create(sku="CUP", name="Red cup", minimum_stock_level=50)
    ProductFactory.create(sku="MUG", name="Red mug", minimum_stock_level=50)
    ProductFactory.create(sku="RED", name="Red pot")
    log_in(page, ada)
    chips, rows = page.locator("#chips"), page.locator("#result_list")

    page.get_by_role("link", name="Low stock").click()
    expect(chips).to_contain_text("Stock: Low stock")
    expect(rows).not_to_contain_text("RED")

    page.locator("#searchbar").fill("mu")
    page.locator("#searchbar").press("Enter")
    expect(chips).to_contain_text("Search: mu")
    expect(chips).to_contain_text("Stock: Low stock")
    expect(rows).not_to_contain_text("CUP")

    chips.get_by_role("link", name="Remove the filter search: mu").click()
    expect(chips).not_to_contain_text("Search")
    expect(rows).to_contain_text("CUP")
    expect(rows).not_to_contain_text("RED")

    chips.get_by_role("link", name="Clear all").click()
    expect(rows).to_contain_text("RED")
    expect(chips).not_to_contain_text("Low stock")


def test_filters_are_kept_while_a_row_is_edited(page: Page, shop: User) -> None:
    log_in(page, shop)
    open_list(page, "Products")
    apply_filters(page, By_stock="Low stock")
    page.locator("#result_list").get_by_role("link", name="MUG", exact=True).click()

    page.get_by_label("Name").fill("Large mug")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.locator("#chips")).to_contain_text("Stock: Low stock")
    expect(page.locator("#result_list")).to_contain_text("Large mug")


def test_days_of_the_ledger_are_chosen_by_one_click(page: Page, shop: User) -> None:
    log_in(page, shop)
    open_list(page, "Ledger")
    rows = page.locator("#result_list")

    page.get_by_role("link", name="Today").click()
    expect(page.locator("#chips")).to_contain_text("Date: ")
    expect(rows).to_contain_text("delivery")

    page.get_by_role("link", name="Yesterday").click()
    expect(rows).not_to_be_attached()

    page.get_by_role("link", name="Last 7 days").click()
    expect(rows).to_contain_text("delivery")


def test_a_text_that_is_no_day_can_be_corrected(page: Page, shop: User) -> None:
    log_in(page, shop)
    open_list(page, "Ledger")

    apply_filters(page, Date_from="31.31.2026")
    expect(page.get_by_text("'31.31.2026' is not a date").first).to_be_visible()
    expect(page.locator("#result_list")).not_to_be_attached()

    apply_filters(page, Date_from="31.01.2026")
    expect(page.locator("#chips")).to_contain_text("Date: from 2026-01-31")
    expect(page.locator("#result_list")).to_contain_text("delivery")


def test_the_low_products_are_printed(page: Page, shop: User) -> None:
    log_in(page, shop)
    page.get_by_role("link", name="Low stock").click()

    open_menu(page, "Export")
    page.get_by_role("link", name="Print").click()

    expect(page.get_by_role("heading", name="Products · Low stock")).to_be_visible()
    expect(page.get_by_role("row", name="MUG Product MUG 25 0 25 50 75")).to_be_visible()
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("#chips")).to_contain_text("Stock: Low stock")
