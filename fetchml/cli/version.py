"""`fetchml version`"""

import subprocess
from pathlib import Path

import click

import fetchml
from fetchml import app
from fetchml.cli.client import json_option
from fetchml.cli.render import print_json


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the version, the commit if it is known, and the store's DuckDB and schema."""
    shown = {
        "version": fetchml.__version__,
        "commit": _commit(),
        "duckdb": app.DUCKDB_VERSION,
        "schema": app.SCHEMA_VERSION,
    }
    known = {name: value for name, value in shown.items() if value is not None}
    if as_json:
        print_json(known)
        return
    click.echo(f"fetchml {known.pop('version')}")
    for name, value in known.items():
        click.echo(f"{name} {value}")


def _commit() -> str | None:
    """Of a checkout; an installed package does not know it."""
    root = Path(fetchml.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", root, "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
