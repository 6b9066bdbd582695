"""`fetchml reservations`"""

from collections.abc import Iterable

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.groups import CommandGroup
from fetchml.cli.named_ids import id_by_end
from fetchml.cli.output import Output, output_option, print_list
from fetchml.cli.render import clean, local_time, print_result
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
    found = ListBookingsResponse(bookings=client.reservations())
    gpus = client.gpus().gpus if found.bookings and output.kind in {"table", "wide"} else ()
    whole = {"bookings": [], **to_json(found)}
    print_list(output, whole, found.bookings, lambda: _table(found.bookings, gpus))


def _table(found: Iterable[Booking], gpus: Iterable[Gpu]) -> FittedTable:
    numbers = {gpu.uuid: str(gpu.number) for gpu in gpus}
    shown = table("ID", "GPU", "USER", "FROM", "TO", "BY", spare=("BY",))
    for each in found:
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
        known = lambda: (each.id for each in client.reservations())  # noqa: E731
        booking_id = id_by_end("reservation", named, known)
        client.remove_reservation(booking_id)
        print_result({"id": booking_id}, clean(f"{booking_id} is removed").plain, as_json=as_json)
