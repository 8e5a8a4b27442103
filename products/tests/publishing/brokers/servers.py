"""Message brokers of the system, on folders and ports of their own."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kombu.connection import Connection

from products.tests.live import free_port

START_SECONDS = 90
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class Broker:
    """A broker that can be stopped and started again. It keeps its messages."""

    def __init__(self, url: str, command: list[str], variables: dict[str, str]) -> None:
        self.url = url
        self._command = command
        self._variables = variables

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=os.environ | self._variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with Connection(self.url, connect_timeout=5) as connection:
                    connection.connect()
                    connection.default_channel.close()
                    return
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_SECONDS)


@contextmanager
def running_redis() -> Iterator[Broker]:
    with TemporaryDirectory() as folder:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        broker = Broker(
            f"redis://127.0.0.1:{port}/0",
            [*command, "--appendonly", "yes", "--appendfsync", "always"],
            {},
        )
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


@contextmanager
def running_rabbitmq() -> Iterator[Broker]:
    with TemporaryDirectory() as folder:
        port = free_port()
        broker = Broker(
            f"amqp://guest:guest@127.0.0.1:{port}//",
            [RABBITMQ],
            {
                "HOME": folder,
                "RABBITMQ_NODENAME": f"inventory-{port}@localhost",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_DIST_PORT": str(free_port()),
                "RABBITMQ_MNESIA_BASE": folder,
                "RABBITMQ_LOG_BASE": folder,
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(Path(folder) / "plugins"),
                "RABBITMQ_CONFIG_FILE": str(Path(folder) / "none"),
            },
        )
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


BROKERS = {"rabbitmq": running_rabbitmq, "redis": running_redis}
MISSING = [
    name
    for name, program in (("rabbitmq", RABBITMQ), ("redis", "redis-server"))
    if not shutil.which(program)
]
