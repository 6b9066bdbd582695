"""`fetchml experiment`"""

from collections.abc import Iterable

import click

from fetchml.cli.compare import compared, comparison_table, row_json, sort_rows
from fetchml.cli.connect import json_option, server_option, valid_text
from fetchml.cli.filters import limit_option
from fetchml.cli.groups import CommandGroup
from fetchml.cli.named_ids import experiment_id_of as id_of
from fetchml.cli.output import Output, output_option, print_list
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
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.task_ids import short
from fetchml.client import Client, Experiment, enum_name, to_json


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
    found = client.experiments()
    short_ids = output.kind == "table" and has_narrow_terminal()
    whole = {"experiments": [to_json(each) for each in found]}
    print_list(output, whole, found, lambda: _table(found, short_ids=short_ids))


def _table(found: Iterable[Experiment], *, short_ids: bool) -> FittedTable:
    shown = table(
        *("ID", "NAME", "STATUS", "FAILED", "COMPLETED", "RUNNING", "QUEUED"),
        *("USER", "MADE", "NOTE"),
        spare=("NOTE", "MADE", "USER", "QUEUED", "RUNNING"),
    )
    for each in found:
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
    found = client.get_experiment(id_of(client, experiment_id))
    if as_json:
        print_json(found)
        return
    counts = [(each.name, number) for each, number in found.counts.ListFields()]
    lines = {
        "id": found.id,
        "name": found.name,
        "status": enum_name(found, "status"),
        "user": found.user_id,
        "made": local_time(found.created_at),
        "snapshot": found.commit_id,
        "description": found.description,
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
    found = client.page(limit, experiment_id=wanted.id)
    rows = compared(client, found.tasks)
    if sort is not None:
        rows = sort_rows(rows, sort, descending=descending)
    elif descending:
        raise click.UsageError("--descending needs --sort")
    all_rows = [row_json(row) for row in rows]
    print_list(output, {"tasks": all_rows}, all_rows, lambda: comparison_table(rows))
    if output.kind != "json" and found.total > len(found.tasks):
        beyond = found.total - len(found.tasks)
        console(stderr=True).print(
            f"{counted(beyond, 'older task')} not shown: raise --limit", style="dim"
        )
