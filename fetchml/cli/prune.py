"""`fetchml prune`"""

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.param_types import Duration
from fetchml.cli.render import print_json, print_result, size
from fetchml.client import Client, Rpc
from fetchml.v1 import storage_pb2

KINDS = ("tasks", "outputs", "snapshots", "environments")
STATES = ("completed", "failed")


@click.command()
@click.option(
    "--older-than",
    type=Duration(),
    required=True,
    help="Minimum age since the end or the last use: 12h, 30d.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="tasks (default): with outputs and logs. outputs: only the outputs. snapshots, "
    "environments: those that no task uses. Repeatable.",
)
@click.option(
    "--status",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help="Remove only tasks with this status. Repeatable.",
)
@click.option("--user", metavar="NAME", help="Remove only this user's data. For admins.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed.")
@click.option("--yes", "-y", is_flag=True, help="Remove without asking.")
@json_option
@server_option
def prune(
    client: Client,
    older_than: int,
    kinds: tuple[str, ...],
    states: tuple[str, ...],
    user: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove old tasks, outputs, snapshots or environments.

    Removes your own, or those of all users if you are an admin. Shows what will be removed, and
    asks. Statistics keep counting removed tasks.

    \b
    Examples:
      fetchml prune --older-than 30d --dry-run
      fetchml prune --older-than 90d --kind outputs --kind snapshots
    """
    request = storage_pb2.PruneStorageRequest(
        older_than_seconds=older_than, kinds=kinds, states=states, user_id=user
    )
    reply = _call(client, request)
    if as_json and dry_run:
        print_json(reply)
        return
    nothing = not (reply.tasks or reply.outputs or reply.snapshots or reply.environments)
    if not as_json:
        click.echo("Nothing is that old." if nothing else f"To be removed: {_words(reply)}.")
    if dry_run or (nothing and not as_json):
        return
    if not yes:
        if as_json:
            raise CommandError("--json cannot ask", "Add --yes or --dry-run.", ExitCode.USAGE)
        click.confirm("Remove this?", abort=True)
    request.apply = True
    total = storage_pb2.PruneStorageResponse()
    while True:
        done = _call(client, request)
        for field in ("tasks", "outputs", "snapshots", "environments", "bytes", "files"):
            setattr(total, field, getattr(total, field) + getattr(done, field))
        if not done.left:
            break
    total.left = 0
    print_result(total, f"Removed: {_words(total)}.", as_json=as_json)


def _call(
    client: Client, request: storage_pb2.PruneStorageRequest
) -> storage_pb2.PruneStorageResponse:
    rpc = Rpc("StorageService/PruneStorage", request, storage_pb2.PruneStorageResponse)
    return client.call(rpc)


def _words(reply: storage_pb2.PruneStorageResponse) -> str:
    parts = [
        (reply.tasks, "task", "tasks"),
        (reply.outputs, "task's outputs", "tasks' outputs"),
        (reply.snapshots, "snapshot", "snapshots"),
        (reply.environments, "environment or cache", "environments and caches"),
    ]
    named = [f"{number} {one if number == 1 else many}" for number, one, many in parts if number]
    return f"{', '.join(named) or 'nothing'}, {size(reply.bytes)} in {reply.files} files"
