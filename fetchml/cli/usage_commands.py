"""`fetchml usage` and `fetchml storage`"""

import time
from collections import defaultdict

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.list_options import Output, output_option, print_list
from fetchml.cli.render import clean, print_json, show, size
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Rpc, to_json
from fetchml.v1 import storage_pb2
from fetchml.v1.usage_pb2 import GpuHours, GpuHoursList

DAY_SECONDS = 86_400
SUMS = ("gpu_hours", "cpu_hours", "completed", "failed")
COLUMNS = ("GPU HOURS", "CPU HOURS", "COMPLETED", "FAILED")


@click.command()
@click.option(
    "--days",
    default=30,
    show_default=True,
    type=click.IntRange(1, 400),
    metavar="N",
    help="Show the last N days, with today.",
)
@click.option("--daily", is_flag=True, help="Show each day of each user.")
@json_option
@server_option
def usage(client: Client, days: int, *, daily: bool, as_json: bool) -> None:
    """Show GPU hours, core hours and ended tasks, by user.

    GPU and core hours count the time in which tasks and Jupyter services held them. On a private
    server you see your own, unless you are an admin.

    \b
    Examples:
      fetchml usage                    the last 30 days by user
      fetchml usage --days 7 --daily   the last week by day and user
    """
    since = Timestamp(seconds=int(time.time()) - (days - 1) * DAY_SECONDS)
    gpu_hours = client.gpu_hours(since=since)
    if as_json:
        print_json({"days": [], **to_json(gpu_hours)})
        return
    if not gpu_hours.days:
        click.echo(f"Nothing was used from {gpu_hours.first_day} to {gpu_hours.last_day}.")
        return
    show(_daily(gpu_hours) if daily else _by_user(gpu_hours))


def _by_user(gpu_hours: GpuHoursList) -> FittedTable:
    sums = defaultdict[str, list[float]](lambda: [0.0] * len(SUMS))
    for row in gpu_hours.days:
        for index, name in enumerate(SUMS):
            sums[row.user_id][index] += getattr(row, name)
    shown = table("USER", *COLUMNS, "SHARE", spare=("CPU HOURS", "SHARE", "FAILED", "COMPLETED"))
    all_hours = sum(each[0] for each in sums.values())
    for user, (gpu, cpu, completed, failed) in sorted(
        sums.items(), key=lambda item: (*(-number for number in item[1]), item[0])
    ):
        share = f"{gpu / all_hours:.0%}" if all_hours else ""
        counts = (str(int(completed)), str(int(failed)))
        shown.add_row(clean(user), _hours(gpu), _hours(cpu), *counts, share)
    return shown


def _daily(gpu_hours: GpuHoursList) -> FittedTable:
    shown = table("DAY", "USER", *COLUMNS, spare=("CPU HOURS", "FAILED", "COMPLETED"))
    for row in gpu_hours.days:
        shown.add_row(row.day, clean(row.user_id), *_cells(row))
    return shown


def _cells(row: GpuHours) -> tuple[str, ...]:
    return _hours(row.gpu_hours), _hours(row.cpu_hours), str(row.completed), str(row.failed)


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours else "-"


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
    reply = client.call(rpc)
    whole = {"users": [], **to_json(reply)}
    print_list(output, whole, reply.users, lambda: _table(reply), name="user_id")
    if reply.HasField("allowed_bytes") and output.kind in {"table", "wide"}:
        click.echo(f"Limit for each user: {size(reply.allowed_bytes)} ([quotas] user_storage_gb).")
    if reply.volumes and output.kind in {"table", "wide"}:
        show(_volumes(reply), wide=output.kind == "wide")


def _table(report: storage_pb2.StorageReport) -> FittedTable:
    kinds = [use.kind for use in report.users[0].kinds] if report.users else []
    shown = table("USER", "ALL", *(kind.upper() for kind in kinds), "FILES", spare=("FILES",))
    for user in report.users:
        parts = (size(use.bytes) if use.bytes else "-" for use in user.kinds)
        name = clean(user.user_id) if user.user_id else "(nobody)"
        shown.add_row(name, size(user.bytes), *parts, str(user.files))
    return shown


def _volumes(report: storage_pb2.StorageReport) -> FittedTable:
    shown = table("VOLUME", "MODE", "ALL", "LIMIT", "FILES", spare=("FILES",))
    for volume in report.volumes:
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
