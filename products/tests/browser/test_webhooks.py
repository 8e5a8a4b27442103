"""Webhooks in the browser: add one, copy the secret, test, pause, resume and delete it."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from standardwebhooks.webhooks import Webhook

from products.models import Subscription
from products.publishing import subscriptions
from products.tests.browser.steps import log_in, make_staff, open_dialog, open_list
from products.tests.publishing.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_manager_adds_tests_pauses_resumes_and_deletes_a_webhook(
    page: Page, settings: Any
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    log_in(page, make_staff("Mia", "Stock manager"))
    open_list(page, "Webhooks")
    page.get_by_role("main").get_by_role("link", name="Add webhook").click()

    with Receiver() as receiver:
        page.get_by_label("URL").fill(receiver.url)
        page.get_by_label("Added", exact=True).check()
        page.get_by_role("button", name="Save").click()
        secret = page.get_by_label("Secret").input_value()
        page.get_by_role("link", name="I have copied the secret").click()
        expect(page.get_by_label("URL")).to_have_value(receiver.url)

        confirm(page, "Send a test")
        expect(page.get_by_text("Test: The receiver answered 204")).to_be_visible()
        [request] = receiver.requests
        Webhook(secret).verify(request.body, request.headers)

    confirm(page, "Send a test")
    expect(page.get_by_text("No connection to the receiver")).to_be_visible()
    page.keyboard.press("Escape")

    confirm(page, "Pause")
    expect(page.get_by_text(f"Paused {receiver.url}.")).to_be_visible()
    confirm(page, "Resume")
    expect(page.get_by_text(f"Resumed {receiver.url}.")).to_be_visible()
    assert Subscription.objects.get().types == ["InventoryAdded"]

    confirm(page, "Delete")
    expect(page.get_by_text(f"Deleted {receiver.url}.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Webhooks")
    assert not Subscription.objects.exists()


def test_a_new_secret_takes_the_place_of_the_dialog(page: Page, ada: User) -> None:
    webhook = subscriptions.create(url="https://shop.example.com/", by="tester")
    log_in(page, ada)
    page.goto(f"/admin/products/subscription/{webhook.pk}/change/")

    confirm(page, "Rotate secret")

    shown = page.get_by_role("dialog", name="New secret")
    secret = shown.get_by_label("Secret").input_value()
    expect(shown.get_by_role("button", name="Rotate secret")).to_have_count(0)
    shown.get_by_role("button", name="Copy").click()
    expect(shown.get_by_role("button", name="Copied")).to_be_visible()
    with page.expect_navigation():
        shown.get_by_role("link", name="I have copied the secret").click()
    expect(page.get_by_text("Rotated the secret")).to_be_visible()
    assert Subscription.objects.get().secrets == [secret, webhook.secret]
    assert secret not in page.content()


def confirm(page: Page, title: str) -> None:
    """Open a dialog and press its button."""
    open_dialog(page, title).get_by_role("button", name=title).click()
