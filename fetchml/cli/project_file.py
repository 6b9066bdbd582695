"""The fetchml.toml of a folder or snapshot, as far as commands depend on it."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fetchml.client import Client, NotFound
from fetchml.core.snapshots import PROJECT_FILE

_MOST_BYTES = 64 * 1024
"""Of a snapshot that was uploaded to an older release."""


def of_folder(folder: Path, paths: Collection[str]) -> Mapping[str, Any] | None:
    """Return the entries of the file, none if the snapshot's `paths` don't include it; `None` if it
    can't be read: the server reports why."""
    if PROJECT_FILE not in paths:
        return {}
    try:
        return tomllib.loads((folder / PROJECT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def of_snapshot(client: Client, snapshot_id: str) -> Mapping[str, Any] | None:
    """See `of_folder`. None if there is no such snapshot, too."""
    content = b""
    try:
        for piece in client.read_snapshot_file(snapshot_id, PROJECT_FILE):
            content += piece
            if len(content) > _MOST_BYTES:
                return None
        return tomllib.loads(content.decode())
    except NotFound:
        return {}
    except (ValueError, RecursionError):
        return None
