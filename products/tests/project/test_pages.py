"""Paths outside the API: the favicon."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

ICON = "/static/products/favicon.svg"


@pytest.mark.django_db
def test_browsers_find_the_favicon(client: Client) -> None:
    response = client.get("/favicon.ico")

    assert (response.status_code, response["Location"]) == (302, ICON)
    icon = client.get(ICON)
    assert icon["Content-Type"] == "image/svg+xml"
    assert icon.getvalue().startswith(b"<svg")


def test_the_favicon_can_only_be_read(client: Client) -> None:
    assert client.post("/favicon.ico").status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documents_name_the_favicon(client: Client, path: str) -> None:
    assert f'<link rel="icon" href="{ICON}"' in client.get(path).content.decode()


@pytest.mark.django_db
def test_the_admin_names_the_favicon(client: Client) -> None:
    client.force_login(User.objects.create_superuser("ada"))

    assert f'href="{ICON}"' in client.get("/admin/").content.decode()
