"""`fetchml reserve`"""

from datetime import datetime

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.gpu import find
from fetchml.cli.param_types import StartTime
from fetchml.cli.render import clean, local_time, print_json
from fetchml.client import Client


@click.command()
@click.argument("gpus", metavar="[GPU]…", nargs=-1)
@click.option(
    "--gpus",
    "count",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Reserve N GPUs that the server chooses.",
)
@click.option("--user", required=True, metavar="NAME", help="The user: the name of a key.")
@click.option(
    "--from",
    "since",
    type=StartTime(),
    help="Begin: 2026-12-01T14:00, or +2h from now. Default: now.",
)
@click.option("--to", "until", type=StartTime(), required=True, help="End, as for --from.")
@json_option
@server_option
def reserve(
    client: Client,
    gpus: tuple[str, ...],
    count: int | None,
    user: str,
    since: datetime | None,
    until: datetime,
    *,
    as_json: bool,
) -> None:
    """Reserve GPUs for a user and a time. For admins.

    GPU is a number from 'fetchml gpus', or the start of a UUID. Only tasks of the user start on the
    GPUs then. Before, tasks of others start there only with a time limit that ends in time.

    \b
    Examples:
      fetchml reserve 1 --user ada --from +2h --to +6h
      fetchml reserve --gpus 2 --user ada --to +8h
    """
    if bool(gpus) == (count is not None):
        raise click.UsageError("Name GPUs, or give their number with --gpus")
    found = client.gpus().gpus
    uuids = [find(found, named).uuid for named in gpus]
    made = client.reserve(user, since=since, until=until, gpu_uuids=uuids, gpu=count)
    if as_json:
        print_json(made)
        return
    numbers = ", ".join(str(gpu.number) for gpu in found if gpu.uuid in made.gpu_uuids)
    times = f"from {local_time(made.starts_at)} to {local_time(made.ends_at)}"
    click.echo(clean(f"{made.id}: GPU {numbers} is reserved for {made.user_id} {times}").plain)
