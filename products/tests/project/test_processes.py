"""The processes of the production server: one server for a port, and workers that are replaced."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection

import pytest
from django.conf import settings
from django.db import connection

from inventory_project.workers import SECONDS_TO_FINISH
from products.models import Product
from products.tests.concurrency import OpenChange, at_once, wait_for_a_lock
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import END_SECONDS, environment_of_test, free_port, running_server
from products.tests.project.test_settings import PRODUCTION, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_a_worker_is_replaced_however_often_it_is_killed() -> None:
    with running_server(workers=1) as server:
        for _ in range(3):
            (worker,) = server.wait_for_workers()
            os.kill(worker, signal.SIGKILL)
        server.wait_for_workers()

        assert server.request("GET", "/health").status == 200


def test_a_server_that_was_killed_leaves_no_worker_and_can_start_again_at_once() -> None:
    with running_server() as killed:
        killed.wait_for_workers()
        waiting = HTTPConnection("127.0.0.1", killed.port)
        waiting.request("GET", "/health/live")
        assert waiting.getresponse().read()
        killed.kill()
        with running_server(port=killed.port) as server:
            server.wait_for_workers()
            killed.wait_for_end()
            statuses = {server.request("GET", "/health").status for _ in range(20)}
        waiting.close()

    assert statuses == {200}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite does not show who waits")
def test_a_server_that_is_stopped_finishes_its_requests() -> None:
    product = ProductFactory.create(quantity=20)
    key = {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}
    path = f"/v1/products/{product.sku}/remove"
    with running_server(workers=1) as server, ThreadPoolExecutor() as clients:
        server.wait_for_workers()
        change = OpenChange(lambda: Product.objects.select_for_update().get(pk=product.pk))
        running = clients.submit(server.request, "POST", path, {"amount": 1}, key)
        wait_for_a_lock()
        stopping = clients.submit(server.stop)
        server.wait_until_it_refuses()
        change.end()
        stopping.result(SECONDS_TO_FINISH)

    assert running.result().status == 200
    assert Product.objects.get(pk=product.pk).quantity == 19


@pytest.mark.parametrize("first", ["127.0.0.1", "0.0.0.0"])
def test_a_second_server_on_the_port_is_refused_in_one_line(first: str) -> None:
    hosts = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "0.0.0.0": "0.0.0.0", "::": "[::]"}
    with running_server(workers=1, HOST=first) as server:
        server.wait_for_workers()
        start = partial(run, "-m", "inventory_project.server", **PRODUCTION, PORT=str(server.port))

        ended = at_once([partial(start, HOST=host) for host in hosts])

    for shown, second in zip(hosts.values(), ended, strict=True):
        assert isinstance(second, subprocess.CompletedProcess)
        assert second.returncode == 1
        assert second.stderr == (
            f"Cannot listen on {shown}:{server.port}: Address already in use. "
            "Set HOST and PORT to a free address.\n"
        )


def test_of_two_servers_that_start_at_once_one_is_refused() -> None:
    port = str(free_port())
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "inventory_project.server"],
            cwd=settings.BASE_DIR,
            env={**environment_of_test(), "PORT": port, "WEB_CONCURRENCY": "1"},
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    end = time.monotonic() + END_SECONDS
    while all(server.poll() is None for server in servers) and time.monotonic() < end:
        time.sleep(0.05)
    is_running = [server.poll() is None for server in servers]
    for server in servers:
        server.terminate()
    errors = [server.communicate(timeout=END_SECONDS)[1].decode() for server in servers]

    assert sorted(is_running) == [False, True], errors
    refused = is_running.index(False)
    assert servers[refused].returncode == 1
    assert errors[refused] == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Set HOST and PORT to a free address.\n"
    )
