"""What a server loads before it answers: imports are most of its start."""

import subprocess
import sys

SLOW = ("docker", "requests", "urllib3", "yaml", "pynvml", "fsspec", "rich.live")
"""Loaded only by servers that use them: more than a fifth of all imports."""


def test_a_server_loads_only_what_it_uses() -> None:
    program = (
        "import sys, fetchml.server.main, fetchml.server.wiring, fetchml.adapters.docker.launcher;"
        f"print(*sorted(set({SLOW!r}) & sys.modules.keys()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert loaded.stdout.split() == []
