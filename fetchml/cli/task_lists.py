"""`fetchml ls`, `watch` and `queue`"""

from collections.abc import Iterable, Iterator

import click
from rich.live import Live
from rich.table import Table

from fetchml.cli.connect import RetryNotice, json_option, server_option
from fetchml.cli.ids import sweep_id_of
from fetchml.cli.list_options import (
    STATES,
    Output,
    filter_options,
    limit_option,
    output_option,
    print_list,
)
from fetchml.cli.render import (
    can_redraw,
    clean,
    console,
    counted,
    has_narrow_terminal,
    local_time,
    print_json,
    show,
)
from fetchml.cli.tables import note, table, task_table
from fetchml.client import (
    Client,
    QueueStats,
    Task,
    WatchTasksResponse,
    Where,
    ended,
    status_name,
    to_json,
)


class LatestTasks:
    """All live tasks, and those that ended last."""

    def __init__(self, ended_shown: int) -> None:
        self._ended_shown = ended_shown
        self.by_id: dict[str, Task] = {}
        """The last change last."""

    def replace(self, tasks: Iterable[Task]) -> None:
        """Replace all tasks, given newest first, after changes were missed."""
        self.by_id = {task.id: task for task in reversed(list(tasks))}

    def apply(self, update: WatchTasksResponse) -> None:
        if not update.HasField("task"):
            return
        self.by_id.pop(update.task.id, None)
        if update.type != WatchTasksResponse.task_deleted:
            self.by_id[update.task.id] = update.task
        over = [task_id for task_id, task in self.by_id.items() if ended(task)]
        for task_id in over[: -self._ended_shown]:
            del self.by_id[task_id]


@click.command()
@limit_option("Show at most N tasks", default=50)
@click.option(
    "--offset", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Skip N tasks."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Show only tasks with this label. Repeatable; all must match.",
)
@click.option(
    "--text",
    default="",
    metavar="TEXT",
    help="Show only tasks with this text in job name, id, command, arguments or error.",
)
@click.option("--sweep", default="", metavar="SWEEP", help="Show only tasks of this sweep.")
@output_option
@server_option
@filter_options
def ls(
    client: Client,
    where: Where,
    limit: int,
    offset: int,
    labels: tuple[str, ...],
    text: str,
    sweep: str,
    output: Output,
) -> None:
    """List tasks, newest first.

    \b
    Examples:
      fetchml ls --status running --user ada
      fetchml ls --label model=resnet --text 'out of memory'
      fetchml ls -o wide
      fetchml ls --status queued -o name | xargs -r fetchml cancel
      fetchml ls -o 'template={id}\\t{status}\\t{metadata.lr}'
    """
    sweep_id = sweep_id_of(client, sweep)
    page = client.page(limit, offset, labels=labels, text=text, sweep_id=sweep_id, **where)
    short = output.kind == "table" and has_narrow_terminal()
    whole = {"tasks": [], **to_json(page)}
    print_list(output, whole, page.tasks, lambda: task_table(page.tasks, short_ids=short))
    beyond = page.total - offset - len(page.tasks)
    if beyond > 0 and output.kind != "json":
        more = counted(beyond, "more task")
        console(stderr=True).print(f"{more}: use --limit or --offset", style="dim")


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
    order = {name: rank for rank, name in enumerate(reversed(STATES))}
    shown = sorted(tasks, key=lambda task: order.get(status_name(task), len(order)))
    return task_table(shown, short_ids=has_narrow_terminal())


@click.command()
@json_option
@server_option
def queue(client: Client, *, as_json: bool) -> None:
    """Show how many tasks wait, run, and ended today."""
    stats = client.queue()
    if as_json:
        print_json(stats)
    else:
        show(queue_table(stats))


def queue_table(stats: QueueStats) -> Table:
    shown = table("QUEUED", "RUNNING", "COMPLETED TODAY", "FAILED TODAY", "EXECUTORS")
    numbers = (stats.queued, stats.running, stats.completed, stats.failed, stats.workers)
    shown.add_row(*map(str, numbers))
    return shown
