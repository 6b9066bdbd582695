"""`fetchml watch`"""

from collections.abc import Iterable, Iterator

import click
from rich.live import Live
from rich.table import Table

from fetchml.cli.connect import RetryNotice, json_option, server_option
from fetchml.cli.filters import STATES, filter_options
from fetchml.cli.latest_tasks import LatestTasks
from fetchml.cli.render import (
    can_redraw,
    clean,
    console,
    has_narrow_terminal,
    local_time,
    print_json,
)
from fetchml.cli.task_table import note, task_table
from fetchml.client import (
    Client,
    Task,
    WatchTasksResponse,
    Where,
    status_name,
)

ENDED_SHOWN = 20


@click.command()
@click.argument("task_id", required=False)
@json_option
@server_option
@filter_options
def watch(
    client: Client,
    task_id: str | None,
    where: Where,
    *,
    as_json: bool,
) -> None:
    """Watch one task until it ends, or all tasks that match.

    On a terminal, shows a table that is kept up to date; otherwise prints a line for each change.
    With --json, prints an object for each event, ordered by `seq`. Resumes after a lost connection.

    \b
    Examples:
      fetchml watch TASK_ID
      fetchml watch --user ada --json
    """
    notice = RetryNotice()
    client = client.with_options(on_cut=notice)
    stream = client.watch_task(task_id) if task_id else client.watch(**where)
    updates = _restoring(stream, notice)
    out = console()
    if as_json:
        for update in updates:
            print_json(update)
    elif can_redraw(out):
        shown = LatestTasks(ENDED_SHOWN)
        with Live(_table(()), console=out, auto_refresh=False) as live:
            for update in updates:
                if update.type == WatchTasksResponse.resync and not task_id:
                    shown.replace(_live_tasks(client, where))
                shown.apply(update)
                live.update(_table(shown.by_id.values()), refresh=True)
    else:
        for update in updates:
            if update.HasField("task") and update.type != WatchTasksResponse.task_deleted:
                print_line(update)


def _restoring(
    updates: Iterable[WatchTasksResponse], notice: RetryNotice
) -> Iterator[WatchTasksResponse]:
    for update in updates:
        notice.restored()
        yield update


def _live_tasks(client: Client, where: Where) -> list[Task]:
    """Return the live tasks that match, up to one page of the list."""
    live: Where = {**where, "states": where["states"] or STATES[:4]}
    return list(client.page(1000, **live).tasks)


def print_line(update: WatchTasksResponse) -> None:
    task = update.task
    when = local_time(update.timestamp if update.HasField("timestamp") else task.created_at)
    fields = (when, task.id, clean(task.job_name).plain, status_name(task), clean(note(task)).plain)
    click.echo("  ".join(fields).rstrip())


def _table(tasks: Iterable[Task]) -> Table:
    """Return a table ordered by state, within a state the newest change last."""
    order = {name: place for place, name in enumerate(reversed(STATES))}
    shown = sorted(tasks, key=lambda task: order.get(status_name(task), len(order)))
    return task_table(shown, short_ids=has_narrow_terminal())
