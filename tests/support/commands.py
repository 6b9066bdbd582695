"""Programs that tests run to their end."""

import subprocess
from collections.abc import Sequence
from os import PathLike
from typing import Any

from testbed.patience import SECONDS


def ran(
    command: Sequence[str | PathLike[str]],
    *,
    check: bool = False,
    timeout: float = SECONDS,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command, and return how it ended and what it wrote. `options`: of `subprocess.run`."""
    return subprocess.run(
        command, check=check, timeout=timeout, capture_output=True, text=True, **options
    )
