"""`fetchml whatif`"""

import time

import click
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.param_types import Duration, Int32, KeyValue
from fetchml.cli.render import clean, counted, duration, local_time, print_json, show
from fetchml.cli.tables import table
from fetchml.client import Client, Rpc
from fetchml.v1.history_pb2 import ReplayHistoryRequest, ReplayHistoryResponse

SECONDS = 600
"""Longest time to wait for the server, which replays one period at a time."""


@click.command()
@click.option("--since", type=Duration(), help="Age of the start: 12h, 30d.  [default: 7d]")
@click.option("--until", type=Duration(), help="Age of the end.  [default: now]")
@click.option("--gpus", type=Int32(), metavar="N", help="Replay with N GPUs.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    type=KeyValue(),
    help="Replay with another setting. May be repeated.",
)
@json_option
@server_option
def whatif(
    client: Client,
    since: int | None,
    until: int | None,
    gpus: int | None,
    settings: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
) -> None:
    """Replay a recorded period with other GPUs, quotas or scheduling. For admins.

    The server's scheduler decides again about the tasks of the period: they are submitted,
    cancelled and changed when they were, and run as long as they did. The result shows waiting
    times and use beside what was recorded. Nothing changes on the server.

    KEY is one of these, as in the server's configuration:

    \b
      quotas.user_gpus   quotas.user_running  scheduling.preemption
      tasks.max_running  tasks.reserve_after  scheduling.half_life
      resources.cpu      resources.memory_gb  gpu.placement  gpu.slots_per_gpu

    Without --gpus and --set, the result shows how exactly a replay repeats the recorded starts.
    docs/history.md describes what it cannot know.

    \b
    Examples:
      fetchml whatif
      fetchml whatif --since 30d --gpus 8
      fetchml whatif --set quotas.user_gpus=2 --set scheduling.preemption=true
    """
    with valid_text():
        request = ReplayHistoryRequest(gpus=gpus, settings=dict(settings))
    now = int(time.time())
    if since is not None:
        request.since.CopyFrom(Timestamp(seconds=max(0, now - since)))
    if until is not None:
        request.until.CopyFrom(Timestamp(seconds=max(0, now - until)))
    rpc = Rpc("HistoryService/ReplayHistory", request, ReplayHistoryResponse)
    reply = client.with_options(deadline=SECONDS).call(rpc)
    if as_json:
        print_json(reply)
    else:
        _show(reply)


def _show(reply: ReplayHistoryResponse) -> None:
    period = f"{local_time(reply.since)} to {local_time(reply.until)}"
    click.echo(f"{period}: {counted(reply.tasks, 'task')}")
    click.echo(
        f"With nothing changed, the replay repeats {reply.same_starts} of "
        f"{counted(reply.starts, 'recorded start')}."
    )
    for change in reply.changes:
        click.echo(f"{change.name}: {change.was} -> {change.now}")
    before, after = reply.recorded, reply.replayed
    columns = ("P50", "P50 REPLAYED", "P90", "P90 REPLAYED")
    waits = table("WAIT OF", "TASKS", *columns, spare=("TASKS",))
    others = {each.user_id: each for each in after.users}
    pairs = [(each, others[each.user_id]) for each in before.users if each.user_id in others]
    for one, other in [(before.waits, after.waits), *pairs]:
        times = (one.p50, other.p50, one.p90, other.p90)
        user = clean(one.user_id) if one.user_id else "(all users)"
        waits.add_row(user, str(one.tasks), *map(_seconds, times))
    use = table("", "RECORDED", "REPLAYED", spare=())
    use.add_row("Slots in use", f"{before.slots_busy:.0%}", f"{after.slots_busy:.0%}")
    if before.HasField("gpus_busy") or after.HasField("gpus_busy"):
        use.add_row("GPUs in use", f"{before.gpus_busy:.0%}", f"{after.gpus_busy:.0%}")
    use.add_row("Tasks that wait at the end", str(before.not_started), str(after.not_started))
    for shown in (waits, use):
        click.echo()
        show(shown)
    for note in reply.notes:
        click.echo(f"\nNote: {note}.")


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"
