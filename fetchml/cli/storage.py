"""`fetchml storage`"""

import click

from fetchml.cli.connect import server_option
from fetchml.cli.output import Output, output_option, print_list
from fetchml.cli.render import clean, show, size
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Rpc, to_json
from fetchml.v1 import storage_pb2


@click.command()
@output_option
@server_option
def storage(client: Client, output: Output) -> None:
    """Show disk usage on the server: yours, or all users' if you are an admin.

    A second table shows the volumes that your tasks may mount. The server measures those with a
    limit every minute. Sizes count whole disk blocks. The files of running tasks are measured every
    30 seconds. 'fetchml prune' removes old data.
    """
    rpc = Rpc("StorageService/GetStorage", storage_pb2.GetStorageRequest(), REPORT)
    found = client.call(rpc)
    whole = {"users": [], **to_json(found)}
    print_list(output, whole, found.users, lambda: _table(found), name="user_id")
    if found.HasField("allowed_bytes") and output.kind in {"table", "wide"}:
        click.echo(f"Limit for each user: {size(found.allowed_bytes)} ([quotas] user_storage_gb).")
    if found.volumes and output.kind in {"table", "wide"}:
        show(_volumes(found), wide=output.kind == "wide")


def _table(found: storage_pb2.StorageReport) -> FittedTable:
    kinds = [use.kind for use in found.users[0].kinds] if found.users else []
    shown = table("USER", "ALL", *(kind.upper() for kind in kinds), "FILES", spare=("FILES",))
    for user in found.users:
        parts = (size(use.bytes) if use.bytes else "-" for use in user.kinds)
        name = clean(user.user_id) if user.user_id else "(nobody)"
        shown.add_row(name, size(user.bytes), *parts, str(user.files))
    return shown


def _volumes(found: storage_pb2.StorageReport) -> FittedTable:
    shown = table("VOLUME", "MODE", "ALL", "LIMIT", "FILES", spare=("FILES",))
    for volume in found.volumes:
        is_measured = volume.HasField("bytes")
        shown.add_row(
            clean(volume.name),
            "ro" if volume.read_only else "rw",
            size(volume.bytes) if is_measured else "-",
            size(volume.max_bytes) if volume.max_bytes else "-",
            str(volume.files) if is_measured else "-",
        )
    return shown


REPORT = storage_pb2.StorageReport
