"""Metrics of a server with several workers, and the alerts and the dashboard that use them."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from products.models import Subscription
from products.shared_metrics import shared_folder
from products.tests.concurrency import at_once
from products.tests.factories import ApiKeyFactory, ProductFactory
from products.tests.live import END_SECONDS, Server, running_server
from products.tests.scrape import TOKEN, Scrape, scrape_server, scrape_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROOT: Path = settings.BASE_DIR
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus-rules.yml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
REFERENCE = ROOT / "docs/reference/metrics.md"
METRIC = re.compile(r"\binventory_[a-z_]+")
NO_DATABASE = "postgres://nobody:x@127.0.0.1:1/none"


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    with running_server(workers=2, METRICS_TOKEN=TOKEN) as running:
        running.wait_for_workers()
        yield running


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    """Return the header with a valid key."""
    return {"Authorization": f"Api-Key {ApiKeyFactory.create().text}"}


@pytest.fixture
def real_scrape(server: Server, key: dict[str, str]) -> str:
    """Return a scrape in which every metric has a value."""
    ProductFactory.create(sku="CUP", quantity=5)
    Subscription.objects.create(url="https://a.example/", cursor="start", created_by="tester")
    assert server.request("POST", "/v1/products/CUP/remove", {"amount": 1}, key).status == 200
    return scrape_text(server)


# ---------------------------------------------------------------------------------- several workers


def test_a_scrape_adds_up_the_requests_of_all_workers(server: Server, key: dict[str, str]) -> None:
    ProductFactory.create(sku="CUP", quantity=30)
    remove = partial(server.request, "POST", "/v1/products/CUP/remove", {"amount": 1}, key)
    before = scrape_server(server)

    at_once([remove] * 40)

    after = scrape_server(server)

    def growth(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    requests = partial(growth, "inventory_request_seconds_count", operation="product.remove")
    assert (requests(outcome="ok"), requests(outcome="refused")) == (30, 10)
    assert growth("inventory_request_errors_total", code="insufficient_stock") == 10
    assert growth("inventory_lock_wait_seconds_count") == 40


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + END_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_counters_survive_the_kill_of_a_worker(key: dict[str, str]) -> None:
    ProductFactory.create(sku="CUP", quantity=30)
    count = "inventory_request_seconds_count"
    with running_server(workers=1, METRICS_TOKEN=TOKEN) as server:
        read = partial(server.request, "GET", "/v1/products/CUP", headers=key)
        (worker,) = server.wait_for_workers()
        for kills in (1, 2):
            read()
            os.kill(worker, signal.SIGKILL)
            (worker,) = server.wait_for_workers()
            found = scrape_server(server)
            assert found.total(count, operation="product.retrieve") == kills
            assert found.total("inventory_worker_restarts_total") == kills


def test_the_pools_of_all_workers_are_added_up(server: Server, key: dict[str, str]) -> None:
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        pytest.skip("SQLite has no pool")
    most = 2 * settings.DATABASE_POOL_SIZE

    def total(name: str) -> float:
        return scrape_server(server).total(f"inventory_pool_{name}")

    # Each worker writes its own figures once a second.
    wait_until(lambda: total("max_connections") == most)
    wait_until(lambda: 2 <= total("connections") <= most)
    assert total("waiting_requests") == 0


def test_a_server_without_a_database_has_metrics() -> None:
    with running_server(NO_DATABASE, workers=1, METRICS_TOKEN=TOKEN) as server:
        server.wait_for_workers()
        assert server.request("GET", "/health").status == 503
        found = scrape_server(server)

    assert found.total("inventory_database_up") == 0
    assert found.total("inventory_request_seconds_count", outcome="unavailable") == 1
    assert found.total("inventory_request_errors_total", code="database_unavailable") == 1


def folders() -> set[Path]:
    with shared_folder():
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        return set(folder.parent.glob("inventory-metrics-*")) - {folder}


def test_the_folder_of_a_killed_server_is_deleted_by_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("products.shared_metrics._IN_MEMORY", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    killed = tmp_path / "inventory-metrics-killed"
    killed.mkdir()
    (killed / "counter_0.db").touch()
    with shared_folder():
        [running] = tmp_path.iterdir()
        assert folders() == {running}

    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------- alerts and dashboard


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=["dashboard", "rules"])
def test_every_metric_that_is_named_exists(file: Path, real_scrape: str) -> None:
    named = set(METRIC.findall(file.read_text()))
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        named.discard("inventory_database_lock_waits")

    assert len(named) > 10
    assert named <= Scrape(real_scrape).names


def test_the_reference_names_every_metric_and_label(real_scrape: str) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(inventory_[a-z_]+)`", text, re.MULTILINE))
    families = list(text_string_to_metric_families(real_scrape))
    scraped = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in families
    }
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        described.discard("inventory_database_lock_waits")

    assert described == scraped
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert all(f"`{label}`" in text for label in labels - {"le"})


def test_every_alert_has_a_unit_test() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    tests = (DEPLOY / "prometheus-rules-test.yml").read_text()

    assert len(alerts) == 13
    assert [alert for alert in alerts if alert not in tests] == []


# ------------------------------------------------------------------------------------ with promtool

PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian has it in the package prometheus)"
)


def promtool(*words: str | Path, text: str = "") -> None:
    """Run promtool, which must find no fault."""
    ended = subprocess.run(
        [str(PROMTOOL), *words],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=END_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout


@with_promtool
def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", DEPLOY / "prometheus-rules-test.yml")


@with_promtool
def test_promtool_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch()
    text = (DEPLOY / "prometheus.yml").read_text()
    shutil.copy(RULES, tmp_path)
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/inventory-token", str(token))
    )

    promtool("check", "config", tmp_path / "prometheus.yml")


@with_promtool
def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(dashboard_queries())
    ]
    # JSON is YAML.
    (tmp_path / "queries.yml").write_text(
        json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
    )

    assert len(rules) > 20
    promtool("check", "rules", tmp_path / "queries.yml")


@with_promtool
def test_promtool_finds_no_fault_in_a_scrape(real_scrape: str) -> None:
    promtool("check", "metrics", text=real_scrape)


def series_of(scrapes: list[str]) -> list[dict[str, str]]:
    """Return the input of a test of rules: a value of each series for each minute."""
    values: dict[str, list[str]] = {}
    for minute, text in enumerate(scrapes):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {**sample.labels, "job": "inventory", "instance": "a"}
                shown = ", ".join(f"{name}={json.dumps(text)}" for name, text in labels.items())
                found = values.setdefault(f"{sample.name}{{{shown}}}", ["_"] * minute)
                found.append(str(sample.value))
    return [{"series": series, "values": " ".join(found)} for series, found in values.items()]


def assert_alerts(scrapes: list[str], alerts: list[str], folder: Path) -> None:
    """Check which alerts fire in the last minute of the scrapes, one for each minute."""
    expected: list[dict[str, Any]] = [
        {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts
    ]
    firing = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{len(scrapes) - 1}m",
        "exp_samples": expected,
    }
    test = {"interval": "1m", "input_series": series_of(scrapes), "promql_expr_test": [firing]}
    file = folder / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))
    promtool("test", "rules", file)


@with_promtool
def test_no_alert_fires_for_a_healthy_server(
    server: Server, real_scrape: str, key: dict[str, str], tmp_path: Path
) -> None:
    scrapes = [real_scrape]
    for _ in range(4):
        server.request("GET", "/v1/products/CUP", headers=key)
        scrapes.append(scrape_text(server))

    assert_alerts(scrapes, [], tmp_path)


@with_promtool
def test_alerts_fire_for_a_server_without_a_database(tmp_path: Path) -> None:
    scrapes = []
    # Without a pool, no request waits for a connection.
    start = partial(running_server, workers=1, METRICS_TOKEN=TOKEN, DATABASE_POOL_SIZE="0")
    with start(NO_DATABASE) as server:
        server.wait_for_workers()
        for _ in range(4):
            server.request("GET", "/health")
            scrapes.append(scrape_text(server))

    assert_alerts(scrapes, ["InventoryDatabaseDown", "InventoryUnavailable"], tmp_path)
