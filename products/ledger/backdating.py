"""A clock for the demo data: changes that happened earlier.

Only `products.demo` may import this module, which `lint-imports` checks. The API, the admin and the
commands have no other way to set the time of a change.
"""

from dataclasses import dataclass, field
from datetime import datetime

from products.ledger.posting import Actor


@dataclass(frozen=True)
class BackdatedActor(Actor):
    """Makes changes that happened at the time `at`.

    The caller makes the changes of each product in the order of their times.
    """

    at: datetime = field(kw_only=True)

    @property
    def backdated_to(self) -> datetime:
        return self.at
