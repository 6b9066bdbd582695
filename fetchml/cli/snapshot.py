"""`fetchml snapshot`"""

from collections.abc import Iterable
from pathlib import Path

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.groups import CommandGroup
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.project_folder import upload_folder
from fetchml.cli.render import (
    clean,
    console,
    local_time,
    print_json,
    print_result,
    show_details,
    size,
)
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Snapshot, to_json

SHORT = 12
"""Characters of an id that a table shows on a terminal."""


@click.group(cls=CommandGroup)
def snapshot() -> None:
    """Upload folders of code for tasks to run.

    'fetchml submit --dir' uploads and submits in one step.

    \b
    Examples:
      id=$(fetchml snapshot create .)
      fetchml submit --snapshot $id -- python train.py --lr 0.1
    """


@snapshot.command()
@click.argument(
    "folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@json_option
@server_option
def create(client: Client, folder: Path, *, as_json: bool) -> None:
    """Upload a folder as a snapshot and print its id.

    FOLDER is the current folder by default. The snapshot includes the files that git tracks or
    would track; outside of a repository, all that no .gitignore excludes. A .fetchmlignore
    excludes more. A snapshot that the server already has is not sent again.
    """
    uploaded, _ = upload_folder(client, folder)
    print_result(uploaded, uploaded.id, as_json=as_json)


@snapshot.command()
@output_option
@server_option
def ls(client: Client, output: Output) -> None:
    """List snapshots, newest first."""
    snapshots = client.snapshots()
    whole = {"snapshots": [to_json(each) for each in snapshots]}
    on_terminal = console().is_terminal and output.kind != "wide"
    print_list(output, whole, snapshots, lambda: _table(snapshots, short_ids=on_terminal))


def _table(snapshots: Iterable[Snapshot], *, short_ids: bool) -> FittedTable:
    shown = table("ID", "FILES", "SIZE", "USER", "MADE", "USED", "COMMIT", spare=("USED", "FILES"))
    for each in snapshots:
        shown.add_row(
            each.id[:SHORT] if short_ids else each.id,
            str(each.file_count),
            size(each.size_bytes),
            clean(", ".join(each.user_ids)),
            local_time(each.created_at),
            local_time(each.used_at),
            _commit(each)[:SHORT],
        )
    return shown


@snapshot.command("show")
@click.argument("snapshot_id")
@json_option
@server_option
def show_one(client: Client, snapshot_id: str, *, as_json: bool) -> None:
    """Show one snapshot. The start of its id is enough."""
    details = client.get_snapshot(snapshot_id_of(client, snapshot_id))
    if as_json:
        print_json(details)
        return
    lines = {
        "id": details.id,
        "files": str(details.file_count),
        "size": size(details.size_bytes),
        "user": ", ".join(details.user_ids),
        "made": local_time(details.created_at),
        "used": local_time(details.used_at),
        "commit": _commit(details),
    }
    show_details(lines.items())


@snapshot.command()
@click.argument("snapshot_ids", nargs=-1, required=True)
@server_option
def rm(client: Client, snapshot_ids: tuple[str, ...]) -> None:
    """Delete snapshots that no live task and no experiment uses."""
    for prefix in snapshot_ids:
        snapshot_id = snapshot_id_of(client, prefix)
        client.delete_snapshot(snapshot_id)
        click.echo(f"{snapshot_id} is removed")


def snapshot_id_of(client: Client, prefix: str) -> str:
    """Return the only id that starts with `prefix`; else `prefix` itself."""
    if len(prefix) == 64:
        return prefix
    matching = [each.id for each in client.snapshots() if each.id.startswith(prefix)]
    return matching[0] if len(matching) == 1 else prefix


def _commit(snapshot: Snapshot) -> str:
    return f"{snapshot.git_commit}{' with changes' if snapshot.git_dirty else ''}"
