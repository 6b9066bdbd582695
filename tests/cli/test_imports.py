"""The modules that a server imports at its start, of which imports take most."""

import sys

from tests.support.commands import ran

SLOW = ("docker", "requests", "urllib3", "yaml", "pynvml", "fsspec", "rich.live")
"""Modules that only some servers need: more than a fifth of all import time."""


def test_a_server_loads_only_what_it_uses() -> None:
    program = (
        "import sys, fetchml.server.main, fetchml.server.wiring, fetchml.adapters.docker.launcher;"
        f"print(*sorted(set({SLOW!r}) & sys.modules.keys()))"
    )
    loaded = ran([sys.executable, "-c", program], check=True)
    assert loaded.stdout.split() == []
