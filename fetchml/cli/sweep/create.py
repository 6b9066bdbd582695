"""`fetchml sweep create`"""

import shlex
from pathlib import Path
from typing import Any, cast

import click

from fetchml.cli import references
from fetchml.cli.connect import json_option, patient, server_option, valid_text
from fetchml.cli.param_types import Int32
from fetchml.cli.render import clean, console, counted, print_json, show
from fetchml.cli.submit import given_fields, job_name, with_ids
from fetchml.cli.sweep.parameters import (
    Parameter,
    parameters_of,
    read_file,
    read_project,
    read_table,
    task_of,
)
from fetchml.cli.tables import table
from fetchml.cli.task_options import task_options
from fetchml.client import Client, CreateTaskRequest, Sweep
from fetchml.client.arguments import SweepFields, Values
from fetchml.v1 import sweep_pb2

_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


# Options after the command's first word belong to the command, as with `submit`.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1)
@click.option(
    "--param",
    "-p",
    "params",
    type=Parameter(),
    multiple=True,
    help="A parameter: a list (lr=0.1,0.2), a range with both ends (seed=1..5), or a random draw "
    "(x=uniform(0,1), y=log_uniform(1e-4,1)). Repeatable, once for each parameter.",
)
@click.option(
    "--table",
    "table_file",
    type=_PATH,
    metavar="FILE",
    help="Read the runs from a CSV file with a header, or from JSON lines (.jsonl).",
)
@click.option(
    "--file", "-f", "file", type=_PATH, help="Read the sweep from a TOML or JSON (.json) file."
)
@click.option("--sweep-name", metavar="NAME", help="Name of the sweep. Default: the job name.")
@click.option(
    "--mode",
    type=click.Choice(["grid", "zip", "random"]),
    help="grid (default): every combination. zip: the first values, the second values, and so on. "
    "random: --samples draws.",
)
@click.option("--samples", type=Int32(), metavar="N", help="Number of tasks in mode random.")
@click.option(
    "--random-seed",
    type=Int32(),
    metavar="N",
    help="Seed of the draws. Default: chosen by the server.",
)
@click.option(
    "--max-parallel", type=Int32(), metavar="N", help="Run at most N tasks at the same time."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Create nothing: show the first five tasks and the number of all.",
)
@click.option("--priority", type=Int32(), metavar="1-10", help="Priority. 10 is the most urgent.")
@task_options
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Create only one sweep, however often this key is used. Default: a new key.",
)
@json_option
@server_option
def create(
    client: Client,
    command: tuple[str, ...],
    *,
    params: tuple[tuple[str, Values], ...],
    table_file: Path | None,
    file: Path | None,
    sweep_name: str | None,
    mode: str | None,
    samples: int | None,
    random_seed: int | None,
    max_parallel: int | None,
    dry_run: bool,
    folder: Path | None,
    idempotency_key: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Create a sweep: many tasks that run COMMAND, each with different parameters.

    {lr} in COMMAND, --args and values of --env stands for the parameter lr, and every task has
    FETCHML_PARAM_LR. Write {{lr}} for the text {lr}. Options come before the command. They override
    --file, which overrides [sweep] in the fetchml.toml of --dir. Prints the sweep's id.

    \b
    Examples:
      fetchml sweep create -p lr=0.1,0.2 -p seed=1..5 -- echo {lr} {seed}
      fetchml sweep create --table runs.csv --dry-run -- echo {lr} {layers}
      fetchml sweep create --mode random --samples 9 -p 'x=uniform(0,1)' echo {x}
      fetchml sweep create --max-parallel 4 -p seed=1..100 -- echo {seed}
      fetchml sweep create --after same-index:@last -p seed=1..100 -- echo {seed}
    """
    client = patient(client)
    project = read_project(folder) if folder is not None else {}
    source = f"{folder}/fetchml.toml"
    of_file = CreateTaskRequest()
    if file is not None:
        project = read_file(file)
        source = str(file)
        of_file = task_of(project.get("task", {}), source)
        for name, value in references.of_file(client, project.get("task", {}), source).items():
            of_file.ClearField(name)
            of_file.MergeFrom(CreateTaskRequest(**{name: value}))
        fields = _with_defaults(fields, of_file)
    parameters = _parameters(params, table_file, project, source)
    wanted = {
        "name": sweep_name or project.get("name"),
        "mode": mode or project.get("mode") or ("zip" if table_file else None),
        "samples": project.get("samples") if samples is None else samples,
        "random_seed": project.get("random_seed") if random_seed is None else random_seed,
        "max_parallel": project.get("max_parallel") if max_parallel is None else max_parallel,
        "idempotency_key": idempotency_key,
    }
    options = cast(
        "SweepFields", {name: value for name, value in wanted.items() if value is not None}
    )
    set_by_file = {field.name for field, _ in of_file.ListFields()}
    fields = with_ids(client, folder, command or tuple(of_file.command), fields, set_by_file)
    with valid_text():
        task = _task(command, fields, of_file)
        if dry_run:
            _show_dry_run(client.validate_sweep(task, parameters, **options), as_json=as_json)
            return
        made = client.create_sweep(task, parameters, **options)
    if as_json:
        print_json(made)
        return
    click.echo(made.id)
    hints = console(stderr=True)
    if hints.is_terminal:
        tasks = "1 task is" if made.total == 1 else f"{made.total} tasks are"
        hints.print(f"{tasks} queued. Follow the sweep: fetchml sweep show @last")


def _parameters(
    params: tuple[tuple[str, Values], ...],
    table_file: Path | None,
    project: dict[str, Any],
    source: str,
) -> dict[str, Values]:
    if table_file is not None and params:
        raise click.UsageError("Give --table or -p, not both: a table has all parameters")
    if table_file is not None:
        return read_table(table_file)
    parameters = parameters_of(project.get("parameters", {}), source)
    names = [name for name, _ in params]
    for name, values in params:
        if names.count(name) > 1:
            raise click.UsageError(f"Give -p {name}=… once, with commas between the values")
        parameters[name] = values
    if not parameters:
        raise click.UsageError("Give parameters: -p lr=0.1,0.2, --table FILE or --file FILE")
    return parameters


def _with_defaults(fields: dict[str, Any], of_file: CreateTaskRequest) -> dict[str, Any]:
    """Fill in the fields of the file on which the upload of a folder depends."""
    defaults = {
        "job_name": of_file.job_name or None,
        "image": of_file.image if of_file.HasField("image") else None,
        "environment": of_file.environment if of_file.HasField("environment") else None,
    }
    return {**fields, **{name: defaults[name] for name in defaults if fields[name] is None}}


def _task(
    command: tuple[str, ...], fields: dict[str, Any], of_file: CreateTaskRequest
) -> CreateTaskRequest:
    """Return the request of every task: options override the file."""
    request_fields = given_fields(command, fields)
    if not command:
        del request_fields["command"]
    if fields["job_name"] is None:
        request_fields["job_name"] = job_name(command or tuple(of_file.command))
    request = CreateTaskRequest()
    request.CopyFrom(of_file)
    for name in request_fields.keys() - {"env", "metadata"}:  # Their entries are merged.
        request.ClearField(name)
    request.MergeFrom(CreateTaskRequest(**request_fields))
    return request


def _show_dry_run(sweep: Sweep, *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
        return
    made = table("#", "PARAMETERS", "COMMAND", wrapped=("PARAMETERS", "COMMAND"))
    for task in sweep.tasks:
        parameters = " ".join(f"{name}={text}" for name, text in sorted(task.parameters.items()))
        line = " ".join(filter(None, (shlex.join(task.command), task.args)))
        made.add_row(str(task.sweep_index), clean(parameters), clean(line))
    show(made)
    more = sweep.total - len(sweep.tasks)
    hidden = f"; {more} {'is' if more == 1 else 'are'} not shown" if more else ""
    click.echo(counted(sweep.total, "task") + hidden)
    if sweep.mode == sweep_pb2.Sweep.random:
        click.echo(f"The values are drawn with --random-seed {sweep.random_seed}")
