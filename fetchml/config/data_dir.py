"""The default data directory. Light to import: each command needs it."""

import os
from pathlib import Path

SERVICE_DATA = Path("/var/lib/fetchml")
"""The data directory of the systemd service."""


def default_data_dir() -> Path:
    # Windows has no users of this kind. It has no servers either.
    if hasattr(os, "geteuid") and (os.geteuid() == 0 or _is_ours(SERVICE_DATA)):
        return SERVICE_DATA
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "fetchml"


def _is_ours(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
