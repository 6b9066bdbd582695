"""The group `fetchml sweep`, with the commands for existing sweeps."""

from collections.abc import Iterable

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.groups import CommandGroup
from fetchml.cli.ids import short, sweep_id_of
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
from fetchml.cli.sweep.create import create
from fetchml.cli.tables import FittedTable, table
from fetchml.client import Client, Sweep, enum_name, to_json
from fetchml.v1.sweep_pb2 import ListBestTasksResponse

COUNTS = ("queued", "preparing", "running", "collecting", "completed", "failed", "deleted")


@click.group(cls=CommandGroup)
def sweep() -> None:
    """Run a command with many sets of parameters, and find the best runs.

    SWEEP is the id of a sweep, the end of its id, its name, or @last for your newest one.

    \b
    Examples:
      fetchml sweep create -p lr=0.1,0.2 -p seed=1..5 -- echo {lr} {seed}
      fetchml sweep show @last
      fetchml sweep best @last --metric loss
    """


sweep.add_command(create)


@sweep.command()
@click.option("--user", default="", metavar="NAME", help="Show only this user's sweeps.")
@limit_option("Show at most N sweeps", default=50)
@output_option
@server_option
def ls(client: Client, user: str, limit: int, output: Output) -> None:
    """List sweeps, newest first, with their tasks by status."""
    sweeps = client.sweeps(user_id=user, limit=limit)
    short_ids = output.kind == "table" and has_narrow_terminal()
    whole = {"sweeps": [], **to_json(sweeps)}
    print_list(output, whole, sweeps.sweeps, lambda: _table(sweeps.sweeps, short_ids=short_ids))
    beyond = sweeps.total - len(sweeps.sweeps)
    if beyond > 0 and output.kind != "json":
        console(stderr=True).print(f"{counted(beyond, 'more sweep')}: use --limit", style="dim")


def _table(sweeps: Iterable[Sweep], *, short_ids: bool) -> FittedTable:
    shown = table(
        *("ID", "NAME", "TASKS", "FAILED", "COMPLETED", "RUNNING", "QUEUED", "USER", "CREATED"),
        spare=("CREATED", "USER", "QUEUED", "RUNNING"),
    )
    for each in sweeps:
        counts = each.counts
        shown.add_row(
            short(each.id) if short_ids else each.id,
            clean(each.name),
            str(each.total),
            str(counts.failed),
            str(counts.completed),
            str(counts.preparing + counts.running + counts.collecting),
            str(counts.queued),
            clean(each.user_id),
            local_time(each.created_at),
        )
    return shown


@sweep.command("show")
@click.argument("sweep_id", metavar="SWEEP")
@json_option
@server_option
def show_one(client: Client, sweep_id: str, *, as_json: bool) -> None:
    """Show one sweep. 'fetchml ls --sweep SWEEP' lists its tasks."""
    details = client.get_sweep(sweep_id_of(client, sweep_id))
    if as_json:
        print_json(details)
        return
    counts = [(name, getattr(details.counts, name)) for name in COUNTS]
    lines = {
        "id": details.id,
        "name": details.name,
        "job": details.job_name,
        "user": details.user_id,
        "created": local_time(details.created_at),
        "tasks": str(details.total),
        **{name: str(count) for name, count in counts if count},
        "mode": enum_name(details, "mode"),
        "samples": str(details.samples) if details.samples else "",
        "random seed": str(details.random_seed) if details.HasField("random_seed") else "",
        "max parallel": str(details.max_parallel) if details.max_parallel else "",
    }
    shown = [*lines.items()]
    shown += [(f"{{{name}}}", text) for name, text in sorted(details.parameters.items())]
    show_details(shown)


@sweep.command()
@click.argument("sweep_id", metavar="SWEEP")
@json_option
@server_option
def cancel(client: Client, sweep_id: str, *, as_json: bool) -> None:
    """Cancel all tasks of a sweep that have not ended."""
    whole_id = sweep_id_of(client, sweep_id)
    _changed(client, whole_id, client.cancel_sweep(whole_id), "cancelled", as_json=as_json)


@sweep.command()
@click.argument("sweep_id", metavar="SWEEP")
@json_option
@server_option
def retry(client: Client, sweep_id: str, *, as_json: bool) -> None:
    """Submit the failed tasks of a sweep again, cancelled ones included.

    Each new task takes the place of the failed one in the sweep, with the same parameters.
    """
    whole_id = sweep_id_of(client, sweep_id)
    _changed(client, whole_id, client.retry_sweep(whole_id), "submitted again", as_json=as_json)


def _changed(client: Client, sweep_id: str, tasks: int, what: str, *, as_json: bool) -> None:
    print_result(
        {"sweep": to_json(client.get_sweep(sweep_id)), "tasks": tasks},
        f"{counted(tasks, 'task')} {what}",
        as_json=as_json,
    )


@sweep.command()
@click.argument("sweep_id", metavar="SWEEP")
@click.option(
    "--metric", required=True, metavar="NAME", help="Name of a number in the tasks' metrics.json."
)
@click.option(
    "--goal",
    type=click.Choice(["min", "max"]),
    default="min",
    show_default=True,
    help="Look for the lowest or for the highest values.",
)
@limit_option("Show the N best tasks", default=10, least=1)
@output_option
@server_option
def best(client: Client, sweep_id: str, metric: str, goal: str, limit: int, output: Output) -> None:
    """Show the tasks of a sweep with the best values of a metric.

    Only completed tasks count. A task reports metrics by writing a flat JSON object to
    /outputs/metrics.json, such as {"loss": 0.02, "accuracy": 0.98}.

    \b
    Example:
      fetchml sweep best @last --metric accuracy --goal max
    """
    wanted = sweep_id_of(client, sweep_id)
    best = client.best_of_sweep(wanted, metric, goal=goal, limit=limit)
    whole = {"results": [], **to_json(best)}
    print_list(
        output,
        whole,
        best.results,
        lambda: _best_table(best, metric),
        name="task_id",
    )
    if not best.results and output.kind != "json":
        metrics = ", ".join(best.metric_names) or "none"
        text = clean(f"No completed task has the metric {metric}. Known metrics: {metrics}")
        console(stderr=True).print(text)


def _best_table(best: ListBestTasksResponse, metric: str) -> FittedTable:
    names = sorted({name for result in best.results for name in result.parameters})
    shown = table("ID", "#", spare=("#",))
    shown.add_column(clean(metric), justify="right", no_wrap=True)
    for name in names:
        shown.add_column(clean(name), justify="right", no_wrap=True, overflow="ellipsis")
    for result in best.results:
        cells = [clean(result.parameters.get(name, "")) for name in names]
        shown.add_row(result.task_id, str(result.sweep_index), f"{result.value:.6g}", *cells)
    return shown
