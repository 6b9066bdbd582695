"""`fetchml rerun` and `fetchml reproduce`"""

import math
import shlex

import click

from fetchml.cli.connect import json_option, patient, server_option, valid_text
from fetchml.cli.diff import show_diff
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.param_types import KeyValue
from fetchml.cli.render import clean, print_json, print_result
from fetchml.client import Client, TaskDiff, ended, enum_name, status_name
from fetchml.core.reported_metrics import METRICS_FILE


@click.command()
@click.argument("task_id")
@click.argument("args", nargs=-1)
@click.option(
    "--parameter",
    "-p",
    "parameters",
    type=KeyValue(),
    multiple=True,
    help="Change a parameter of its sweep, or {NAME} in its command. Repeatable.",
)
@json_option
@server_option
def rerun(
    client: Client,
    task_id: str,
    args: tuple[str, ...],
    parameters: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
) -> None:
    """Submit a task again with changes, and print the id of the new one.

    The new task has the same request, variables included. Arguments after `--` follow the command,
    in place of those of --args: most programs use the last value of an option.

    \b
    Examples:
      fetchml rerun @last
      fetchml rerun TASK_ID -p lr=0.2
      fetchml rerun TASK_ID -- --epochs 5
    """
    with valid_text():
        task = client.rerun(
            task_id, parameters=dict(parameters), args=shlex.join(args) if args else None
        )
    print_result(task, task.id, as_json=as_json)


@click.command()
@click.argument("task_id")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="Relative difference of metrics that counts as none, such as 1e-6. Default: 0.",
)
@json_option
@server_option
def reproduce(client: Client, task_id: str, *, tolerance: float, as_json: bool) -> int:
    """Run an ended task again as it ran, and report what differs.

    The new task has the same code, variables and parameters, the image by its digest, datasets by
    their SHA-256, and the same versions of packages. The command waits until it has ended, and then
    compares the metrics and the content of all output files. The exit code is 0 if they are the
    same, 7 if they differ, and 1 if that cannot be determined.

    \b
    Examples:
      fetchml reproduce TASK_ID
      fetchml reproduce @last --tolerance 1e-6
    """
    first = client.get(task_id)
    if not ended(first):
        raise CommandError(
            f"{task_id} is {status_name(first)}",
            "Wait until it has ended: fetchml logs -f",
            ExitCode.CONFLICT,
        )
    calls = patient(client)
    again = client.rerun(task_id, pinned=True)
    click.echo(f"{again.id} runs it again", err=True)
    again = calls.wait(again.id)
    click.echo(clean(f"{again.id} {status_name(again)} {again.error}").plain.rstrip(), err=True)
    found = calls.diff(task_id, again.id, outputs=True)
    if as_json:
        print_json(found)
    else:
        show_diff(found)
    return verdict(found, tolerance)


def verdict(found: TaskDiff, tolerance: float) -> int:
    """Return the exit code for the differences of results and outputs."""
    is_close, code = False, 0
    for section in found.sections:
        if section.name not in ("results", "outputs"):
            continue
        if enum_name(section, "outcome") == "unknown":
            code = code or ExitCode.FAILED
        differing = [each for each in section.changes if not _close(each, tolerance)]
        if section.name == "results":
            is_close = bool(section.changes) and not differing
        elif is_close:  # The file of these metrics.
            differing = [each for each in differing if each.name != METRICS_FILE]
        if differing or section.omitted:
            code = ExitCode.DIFFERENT
    return code


def _close(change: TaskDiff.Change, tolerance: float) -> bool:
    try:
        before, after = float(change.before), float(change.after)
    except ValueError:
        return False
    return math.isclose(before, after, rel_tol=tolerance)
