"""What `compose.yaml` starts exists, and its proxy speaks HTTPS.

There is no Docker here: the commands run in this environment.
"""

import http.client
import os
import shlex
import ssl
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from inventory_project import environment
from products.tests.live import free_port, manage, running_server
from products.tests.nginx import CONFIGURATION, NGINX, running_configuration
from products.tests.project.dockerfile import PROJECT

SERVICES: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"] == "inventory"}


@pytest.mark.parametrize("name", [name for name, each in OURS.items() if "command" in each])
def test_a_command_exists(name: str) -> None:
    python, program, *words = shlex.split(OURS[name]["command"])

    ended = manage(*words, "--help")

    assert (python, program, ended.returncode) == ("python", "manage.py", 0)


def test_only_known_settings_are_set() -> None:
    for service in OURS.values():
        assert service["environment"].keys() <= environment.variables.keys()


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed.")
@pytest.mark.django_db(transaction=True)
def test_the_proxy_speaks_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    _write_certificate(authority.issue_cert("localhost"), tmp_path)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    variables = {**OURS["web"]["environment"], "ALLOWED_HOSTS": "localhost"}
    del variables["DATABASE_URL"]
    with running_server(workers=1, SECURE_SSL_REDIRECT="on", **variables) as server:
        server.wait_for_workers()
        plain, secure = free_port(), free_port()
        configuration = _configuration_of_proxy("localhost", tmp_path)
        for there, here in {
            "web:8000": f"127.0.0.1:{server.port}",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{secure} ssl;",
            "/etc/ssl/inventory/": f"{tmp_path}/",
        }.items():
            assert there in configuration
            configuration = configuration.replace(there, here)
        with running_configuration(tmp_path, configuration, secure):
            redirected = _get(http.client.HTTPConnection("localhost", plain))
            answered = _get(http.client.HTTPSConnection("localhost", secure, context=trusted))

    assert redirected == (301, "https://localhost/docs")
    assert answered == (200, None)


def _configuration_of_proxy(host_name: str, folder: Path) -> str:
    """Run the proxy's `sed` on `deploy/nginx.conf`, and return the configuration."""
    *_, program = SERVICES["proxy"]["command"]
    shipped, written = "/etc/inventory/nginx.conf", "/etc/nginx/conf.d/default.conf"
    program, end = program.replace("$$", "$").split("exec nginx")
    assert (shipped in program, written in program, "daemon off" in end) == (True, True, True)
    result = folder / "default.conf"
    program = program.replace(shipped, str(CONFIGURATION)).replace(written, str(result))
    subprocess.run(["sh", "-ec", program], env={"HOST_NAME": host_name, **os.environ}, check=True)
    return result.read_text()


def _write_certificate(certificate: trustme.LeafCert, folder: Path) -> None:
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)


def _get(client: http.client.HTTPConnection) -> tuple[int, str | None]:
    """Return the status of a page, and where it redirects."""
    with closing(client):
        client.request("GET", "/docs")
        response = client.getresponse()
        response.read()
        return response.status, response.getheader("Location")
