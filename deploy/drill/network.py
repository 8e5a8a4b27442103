"""Lose the packets to a host, as when its cable is pulled. It needs root and iptables."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CHAIN = "INVENTORY_DRILL"


@contextmanager
def lost_packets(*matches: str) -> Iterator[None]:
    """Drop the TCP packets that match for the time of the block, such as `--dport 5501`."""
    remove_rules()
    try:
        _iptables("-N", _CHAIN)
        for match in matches:
            _iptables("-A", _CHAIN, "-p", "tcp", *match.split(), "-j", "DROP")
        _iptables("-I", "OUTPUT", "-j", _CHAIN)
        yield
    finally:
        remove_rules()


def remove_rules() -> None:
    """Remove the rules of this drill, and those of an earlier one that was killed."""
    for command in (("-D", "OUTPUT", "-j", _CHAIN), ("-F", _CHAIN), ("-X", _CHAIN)):
        _iptables(*command, check=False)


def _iptables(*arguments: str, check: bool = True) -> None:
    subprocess.run(
        ["/usr/sbin/iptables", "-w", "10", *arguments], check=check, capture_output=not check
    )
