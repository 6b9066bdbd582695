"""`fetchml whatif`"""

from datetime import datetime

import click

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.param_types import Int32, KeyValue, PastTime
from fetchml.cli.render import clean, counted, duration, local_time, print_json, show
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Rpc
from fetchml.v1.history_pb2 import ReplayHistoryRequest, ReplayHistoryResponse

SECONDS = 600
"""Longest time to wait for the server, which replays one period at a time."""
TIMES = ("p50", "p90", "mean")


@click.command()
@click.option("--since", type=PastTime(), help="Begin of the period.  [default: 7d before its end]")
@click.option("--until", type=PastTime(), help="End of the period.  [default: now]")
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
    since: datetime | None,
    until: datetime | None,
    gpus: int | None,
    settings: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
) -> None:
    """Replay a recorded period with other GPUs, quotas or scheduling. For admins.

    The server's scheduler decides again about the tasks of the period: they are submitted,
    cancelled and changed when they were, and run as long as they did. The result shows waiting
    times and use beside what was recorded. Nothing changes on the server.

    TIME is the age, such as 90m, 12h or 7d, or a time such as 2026-12-01T20:00Z, in the zone of
    this machine if it names none. KEY is one of these, as in the server's configuration:

    \b
      tasks.max_running   tasks.reserve_after     resources.cpu  resources.memory_gb
      quotas.user_gpus    quotas.user_running     gpu.placement  gpu.slots_per_gpu
      scheduling.ahead    scheduling.preemption   scheduling.half_life

    Without --gpus and --set, the result shows how exactly a replay repeats the recorded starts.
    docs/history.md describes what it cannot know.

    \b
    Examples:
      fetchml whatif
      fetchml whatif --since 30d --gpus 8
      fetchml whatif --set quotas.user_gpus=2 --set scheduling.preemption=true
    """
    with valid_text():
        request = ReplayHistoryRequest(since=since, until=until, gpus=gpus, settings=dict(settings))
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
    click.echo()
    show(_waits(reply))
    click.echo()
    show(_use(reply))
    for note in reply.notes:
        click.echo(f"\nNote: {note}.")


def _waits(reply: ReplayHistoryResponse) -> FittedTable:
    columns = [f"{name.upper()}{when}" for name in TIMES for when in ("", " REPLAYED")]
    shown = table("WAIT OF", "TASKS", *columns, spare=("MEAN", "MEAN REPLAYED", "TASKS"))
    replayed = {each.user_id: each for each in reply.replayed.users}
    pairs = [(each, replayed.get(each.user_id)) for each in reply.recorded.users]
    for before, after in [(reply.recorded.waits, reply.replayed.waits), *pairs]:
        cells = []
        for name in TIMES:
            cells.append(_seconds(getattr(before, name)))
            cells.append("-" if after is None else _seconds(getattr(after, name)))
        user = clean(before.user_id) if before.user_id else "(all users)"
        shown.add_row(user, str(before.tasks), *cells)
    return shown


def _use(reply: ReplayHistoryResponse) -> FittedTable:
    shown = table("", "RECORDED", "REPLAYED", spare=())
    before, after = reply.recorded, reply.replayed
    shown.add_row("Slots in use", f"{before.slots_busy:.0%}", f"{after.slots_busy:.0%}")
    if before.HasField("gpus_busy") or after.HasField("gpus_busy"):
        shown.add_row("GPUs in use", f"{before.gpus_busy:.0%}", f"{after.gpus_busy:.0%}")
    shown.add_row("Tasks that wait at the end", str(before.not_started), str(after.not_started))
    return shown


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"
