"""`fetchml experiment`"""

import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import click
from rich.table import Table
from rich.text import Text

from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import experiment_id_of as id_of
from fetchml.cli.ids import short
from fetchml.cli.list_options import Output, limit_option, output_option, print_list
from fetchml.cli.render import (
    clean,
    console,
    counted,
    has_narrow_terminal,
    local_time,
    print_json,
    print_result,
    show_details,
)
from fetchml.cli.tables import FittedTable, note, run_time, status_text, table
from fetchml.client import Client, Experiment, NotFound, Task, ended, enum_name, to_json
from fetchml.core.reported_metrics import MAX_METRICS_BYTES, METRICS_FILE, metrics_in
from fetchml.core.requests import shell_words


@click.group(cls=CommandGroup)
def experiment() -> None:
    """Group tasks in experiments and compare them.

    EXPERIMENT is the name of an experiment, its id, or the end of its id.

    \b
    Examples:
      fetchml experiment create "learning rates"
      fetchml submit --experiment "learning rates" --dir . -- python train.py
      fetchml experiment compare "learning rates" --sort loss
    """


@experiment.command()
@click.argument("name")
@click.option("--description", "-d", metavar="TEXT", help="Description.")
@click.option("--snapshot", "commit_id", metavar="ID", help="Snapshot of the experiment's code.")
@json_option
@server_option
def create(
    client: Client, name: str, description: str | None, commit_id: str | None, *, as_json: bool
) -> None:
    """Create an experiment called NAME and print its id."""
    with valid_text():
        made = client.create_experiment(name, description=description, commit_id=commit_id)
    print_result(made, made.id, as_json=as_json)


@experiment.command()
@output_option
@server_option
def ls(client: Client, output: Output) -> None:
    """List experiments, newest first, with their tasks by status."""
    experiments = client.experiments()
    short_ids = output.kind == "table" and has_narrow_terminal()
    whole = {"experiments": [to_json(each) for each in experiments]}
    print_list(output, whole, experiments, lambda: _table(experiments, short_ids=short_ids))


def _table(experiments: Iterable[Experiment], *, short_ids: bool) -> FittedTable:
    shown = table(
        *("ID", "NAME", "STATUS", "FAILED", "COMPLETED", "RUNNING", "QUEUED"),
        *("USER", "MADE", "NOTE"),
        spare=("NOTE", "MADE", "USER", "QUEUED", "RUNNING"),
    )
    for each in experiments:
        counts = each.counts
        shown.add_row(
            short(each.id) if short_ids else each.id,
            clean(each.name),
            enum_name(each, "status"),
            str(counts.failed),
            str(counts.completed),
            str(counts.preparing + counts.running + counts.collecting),
            str(counts.queued),
            clean(each.user_id),
            local_time(each.created_at),
            clean(each.description),
        )
    return shown


@experiment.command("show")
@click.argument("experiment_id", metavar="EXPERIMENT")
@json_option
@server_option
def show_one(client: Client, experiment_id: str, *, as_json: bool) -> None:
    """Show one experiment."""
    shown = client.get_experiment(id_of(client, experiment_id))
    if as_json:
        print_json(shown)
        return
    counts = [(each.name, number) for each, number in shown.counts.ListFields()]
    lines = {
        "id": shown.id,
        "name": shown.name,
        "status": enum_name(shown, "status"),
        "user": shown.user_id,
        "made": local_time(shown.created_at),
        "snapshot": shown.commit_id,
        "description": shown.description,
        "tasks": str(sum(number for _, number in counts)),
        **{name: str(number) for name, number in counts if number},
    }
    show_details(lines.items())


@experiment.command()
@click.argument("experiment_ids", metavar="EXPERIMENT…", nargs=-1, required=True)
@server_option
def archive(client: Client, experiment_ids: tuple[str, ...]) -> None:
    """Archive experiments: they accept no more tasks. Their present tasks continue."""
    for experiment_id in [id_of(client, named) for named in experiment_ids]:
        client.archive_experiment(experiment_id)
        click.echo(f"{experiment_id} is archived")


@experiment.command()
@click.argument("experiment_ids", metavar="EXPERIMENT…", nargs=-1, required=True)
@server_option
def rm(client: Client, experiment_ids: tuple[str, ...]) -> None:
    """Delete experiments. Their tasks stay."""
    for experiment_id in [id_of(client, named) for named in experiment_ids]:
        client.delete_experiment(experiment_id)
        click.echo(f"{experiment_id} is removed")


@experiment.command()
@click.argument("experiment_id", metavar="EXPERIMENT")
@click.option(
    "--sort",
    metavar="METRIC",
    help="Sort by this metric, lowest first. Tasks without it come last.",
)
@click.option("--descending", is_flag=True, help="Sort highest first.")
@limit_option("Compare at most the N newest tasks", default=100, least=1)
@output_option
@server_option
def compare(
    client: Client,
    experiment_id: str,
    sort: str | None,
    limit: int,
    output: Output,
    *,
    descending: bool,
) -> None:
    """Compare the tasks of an experiment.

    Shows their arguments, status, duration, metrics and number of outputs. A task reports metrics
    by writing a flat JSON object to /outputs/metrics.json, such as {"loss": 0.02, "accuracy":
    0.98}.

    \b
    Example:
      fetchml experiment compare "learning rates" --sort loss
    """
    wanted = client.get_experiment(id_of(client, experiment_id))
    page = client.page(limit, experiment_id=wanted.id)
    rows = compared(client, page.tasks)
    if sort is not None:
        rows = sort_rows(rows, sort, descending=descending)
    elif descending:
        raise click.UsageError("--descending needs --sort")
    all_rows = [row_json(row) for row in rows]
    print_list(output, {"tasks": all_rows}, all_rows, lambda: comparison_table(rows))
    if output.kind != "json" and page.total > len(page.tasks):
        beyond = page.total - len(page.tasks)
        console(stderr=True).print(
            f"{counted(beyond, 'older task')} not shown: raise --limit", style="dim"
        )


CALLS_AT_ONCE = 8


class Row(NamedTuple):
    task: Task
    outputs: int
    """Number of files."""
    metrics: dict[str, float]


def compared(client: Client, tasks: Iterable[Task]) -> list[Row]:
    """Return a row for each task, in their order, without those deleted meanwhile."""
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        rows = pool.map(lambda task: _row(client, task), tasks)
        return [row for row in rows if row is not None]


def _row(client: Client, task: Task) -> Row | None:
    if not ended(task):
        return Row(task, 0, {})
    try:
        sizes = {output.path: output.size_bytes for output in client.outputs(task.id)}
        metrics = dict[str, float]()
        if sizes.get(METRICS_FILE, MAX_METRICS_BYTES + 1) <= MAX_METRICS_BYTES:
            metrics = metrics_in(b"".join(client.read_output(task.id, METRICS_FILE)))
        return Row(task, len(sizes), metrics)
    except NotFound:
        return None


def sort_rows(rows: Sequence[Row], metric: str, *, descending: bool) -> list[Row]:
    """Sort rows by a metric; those without it come last. Raises UsageError if no task has it."""
    having = [row for row in rows if metric in row.metrics]
    if not having:
        metrics = ", ".join(metric_names(rows)) or "none"
        raise click.UsageError(f"No task has the metric {metric!r}. Known metrics: {metrics}")
    having.sort(key=lambda row: row.metrics[metric], reverse=descending)
    return having + [row for row in rows if metric not in row.metrics]


def metric_names(rows: Iterable[Row]) -> list[str]:
    """Return the names in all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def arguments(tasks: Sequence[Task]) -> list[str]:
    """Return each task's command line without the program and script that all share."""
    lines = [[*task.command, *shell_words.split(task.args)] for task in tasks]
    shared = 0
    if len(lines) > 1:
        for words in zip(*lines, strict=False):
            if len(set(words)) > 1 or words[0].startswith("-"):
                break
            shared += 1
    return [shlex.join(line[shared:]) for line in lines]


def comparison_table(rows: Sequence[Row]) -> Table:
    names = metric_names(rows)
    made = table("ID", "ARGS", "STATUS", "RAN", spare=("OUTPUTS", "RAN", "NOTE"))
    for name in names:
        made.add_column(clean(name), justify="right", no_wrap=True)
    made.add_column("OUTPUTS", justify="right")
    made.add_column("NOTE")
    for row, line in zip(rows, arguments([row.task for row in rows]), strict=True):
        made.add_row(
            row.task.id,
            clean(line),
            status_text(row.task),
            run_time(row.task),
            *(_number(row.metrics.get(name)) for name in names),
            str(row.outputs) if ended(row.task) else "",
            clean(note(row.task)),
        )
    return made


def _number(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(str(value) if type(value) is int else f"{value:.6g}")


def row_json(row: Row) -> dict[str, Any]:
    shown = to_json(row.task)
    task = row.task
    if task.HasField("started_at") and task.HasField("ended_at"):
        ms = task.ended_at.ToMilliseconds() - task.started_at.ToMilliseconds()
        shown["duration_seconds"] = ms / 1000
    return {**shown, "metrics": row.metrics, "outputs": row.outputs}
