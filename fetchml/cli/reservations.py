"""`fetchml reserve` and `fetchml reservations`"""

from collections.abc import Iterable
from datetime import datetime

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.gpu_commands import find
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import id_by_end
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.param_types import StartTime
from fetchml.cli.render import clean, local_time, print_json, print_result
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, to_json
from fetchml.v1.gpu_pb2 import Booking, Gpu, ListBookingsResponse


@click.group(cls=CommandGroup)
def reservations() -> None:
    """List reservations of GPUs, and remove them. 'fetchml reserve' makes one.

    \b
    Examples:
      fetchml reservations ls
      fetchml reservations rm RESERVATION_ID
    """


@reservations.command()
@output_option
@server_option
def ls(client: Client, output: Output) -> None:
    """List the reservations that have not ended, in the order of their begin."""
    reply = ListBookingsResponse(bookings=client.reservations())
    gpus = client.gpus().gpus if reply.bookings and output.kind in {"table", "wide"} else ()
    whole = {"bookings": [], **to_json(reply)}
    print_list(output, whole, reply.bookings, lambda: _table(reply.bookings, gpus))


def _table(bookings: Iterable[Booking], gpus: Iterable[Gpu]) -> FittedTable:
    numbers = {gpu.uuid: str(gpu.number) for gpu in gpus}
    shown = table("ID", "GPU", "USER", "FROM", "TO", "BY", spare=("BY",))
    for each in bookings:
        shown.add_row(
            each.id,
            clean(", ".join(numbers.get(uuid, uuid) for uuid in each.gpu_uuids)),
            clean(each.user_id or "(another user)"),
            local_time(each.starts_at),
            local_time(each.ends_at),
            clean(each.created_by),
        )
    return shown


@reservations.command()
@click.argument("reservation_ids", nargs=-1, required=True)
@json_option
@server_option
def rm(client: Client, reservation_ids: tuple[str, ...], *, as_json: bool) -> None:
    """Remove reservations, also such that have begun. For admins."""
    for named in reservation_ids:
        all_ids = lambda: (each.id for each in client.reservations())  # noqa: E731
        booking_id = id_by_end("reservation", named, all_ids)
        client.remove_reservation(booking_id)
        print_result({"id": booking_id}, clean(f"{booking_id} is removed").plain, as_json=as_json)


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
    all_gpus = client.gpus().gpus
    uuids = [find(all_gpus, named).uuid for named in gpus]
    made = client.reserve(user, since=since, until=until, gpu_uuids=uuids, gpu=count)
    if as_json:
        print_json(made)
        return
    numbers = ", ".join(str(gpu.number) for gpu in all_gpus if gpu.uuid in made.gpu_uuids)
    times = f"from {local_time(made.starts_at)} to {local_time(made.ends_at)}"
    click.echo(clean(f"{made.id}: GPU {numbers} is reserved for {made.user_id} {times}").plain)
