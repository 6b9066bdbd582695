"""The program uv: where it is, and its version."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

_SECONDS = 20
MISSING = (
    "uv is not installed here. Install it ('pip install uv', or any other way), or set "
    "[environments] uv to its path"
)


def find_uv(setting: Path | None) -> Path | None:
    """Return the path of uv: the one that is set, else the one that was installed with FetchML,
    else the first on PATH; `None` if there is none."""
    if setting is not None:
        return setting.absolute() if setting.is_file() else None
    beside = Path(sys.executable).parent / "uv"
    if not getattr(sys, "frozen", False) and beside.is_file():
        return beside
    found = shutil.which("uv")
    return Path(found).absolute() if found else None


class UvVersion:
    """Asks uv for its version, once for each binary."""

    def __init__(self, uv: Path) -> None:
        self._uv = uv
        self._known: tuple[int, str] | None = None

    async def get(self) -> str:
        """Raises OSError, subprocess.SubprocessError."""
        return await asyncio.to_thread(self._get)

    def _get(self) -> str:
        changed = self._uv.stat().st_mtime_ns
        if self._known is None or self._known[0] != changed:
            command = [str(self._uv), "--version"]
            done = subprocess.run(
                command, check=True, capture_output=True, timeout=_SECONDS, env={}
            )
            self._known = changed, done.stdout.decode(errors="replace").strip()
        return self._known[1]
