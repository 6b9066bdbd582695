"""The version of this program."""

import subprocess
from importlib import metadata
from pathlib import Path

import fetchml
from fetchml.adapters.duckdb.schema import MIGRATIONS

_PACKAGE = Path(fetchml.__file__).parent
_COMMIT_OF_BUILD = _PACKAGE / "commit"
"""In the executable; build/build.sh puts it there."""


def versions() -> dict[str, str | int]:
    """Return the versions of the program, its commit if known, DuckDB, and the newest schema."""
    entries: dict[str, str | int] = {"version": fetchml.__version__}
    if commit := _commit():
        entries["commit"] = commit
    return entries | {"duckdb": metadata.version("duckdb"), "schema": len(MIGRATIONS)}


def _commit() -> str | None:
    """Return the commit of a build or a checkout; `None` for an installed package."""
    if _COMMIT_OF_BUILD.exists():
        return _COMMIT_OF_BUILD.read_text().strip()
    root = _PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", root, "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
