"""Starts a part of this program as a process of its own."""

import os
import sys
from collections.abc import Mapping

PART = "--part"
"""First argument of the single-file executable, followed by a module's name."""

_of_executable: dict[str, str] = {}


def keep_for_parts(variables: Mapping[str, str]) -> None:
    """Keep the variables by which a child of the single-file executable uses the files that this
    process has unpacked."""
    _of_executable.update(variables)


def command(module: str) -> tuple[str, ...]:
    """Return the command that runs the module's `main`."""
    if getattr(sys, "frozen", False):
        return sys.executable, PART, module
    return sys.executable, "-I", "-m", module


def environment() -> dict[str, str]:
    """Return an environment for that command which holds nothing of this process's own."""
    return {"LC_ALL": "C.UTF-8", "PATH": os.defpath, **_of_executable}
