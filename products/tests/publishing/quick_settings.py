"""The settings of the service, with shorter waits of the relay."""

from inventory_project.settings import *  # noqa: F403

WEBHOOK_TIMEOUT_SECONDS = 1.0
WEBHOOK_RETRY_SECONDS = 0.2
