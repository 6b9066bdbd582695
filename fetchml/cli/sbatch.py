"""`fetchml sbatch`"""

import time
from pathlib import Path
from typing import Any

import click

from fetchml.cli.connect import json_option, patient, server_option, valid_text
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.ids import WHOLE
from fetchml.cli.param_types import SWEEP
from fetchml.cli.render import clean, console, print_json, print_result
from fetchml.cli.show import starts
from fetchml.cli.slurm.options import OPTIONS, PARAMETER, Array, Request, literal
from fetchml.cli.slurm.script import (
    BadScript,
    Problems,
    command_of,
    command_of_file,
    directives,
    read,
    split,
)
from fetchml.cli.submit import create, given_fields, with_ids
from fetchml.cli.task_options import grant_options
from fetchml.cli.wait import outcome, wait
from fetchml.client import Client, CreateTaskRequest, NotFound

_NOTHING = {
    **dict.fromkeys(
        ("job_name", "snapshot_id", "image", "environment", "experiment_id", "checkpoint_from")
    ),
    **dict.fromkeys(("metadata", "env", "after", "inputs_from"), ()),
}


@click.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
    options_metavar="[OPTIONS] [SBATCH OPTIONS]",
)
@click.argument("words", metavar="FILE [ARGS]…", nargs=-1, type=click.UNPROCESSED, required=True)
@click.option("--lenient", is_flag=True, help="Leave out options that have no counterpart.")
@grant_options
@json_option
@server_option
def sbatch(
    client: Client, words: tuple[str, ...], *, lenient: bool, as_json: bool, **granted: Any
) -> int:
    """Submit a batch script of Slurm as a task.

    Reads the '#SBATCH' lines of FILE; options of sbatch may also stand before FILE, and replace
    them. Options that a task can't have are listed, and nothing is submitted, unless --lenient is
    given. Prints the task's id, as 'fetchml submit' does. --array makes a sweep, whose id is
    printed.

    The script's text is sent. With --chdir the folder is uploaded, and the script runs in it.

    \b
    Examples:
      fetchml sbatch job.sh
      fetchml sbatch --gres=gpu:1 --time=12:00:00 job.sh 0.1
      fetchml sbatch --chdir=. --wait job.sh
      fetchml sbatch --array=0-15%4 --dependency=afterok:@last job.sh
      fetchml sbatch --cpus-per-task=2 --wrap='echo hello'
    """
    problems = Problems()
    try:
        request, command = _parse(words, problems)
    except BadScript as error:
        raise CommandError(f"Cannot submit the script: {error}", "", ExitCode.USAGE) from error
    _check(problems, lenient=lenient)
    fields = {**_NOTHING, **granted, **request.fields, "env": tuple(request.env.items())}
    fields["metadata"] = tuple(request.metadata.items())
    if request.slurm:
        fields["slurm"] = tuple(request.slurm.items())
    folder = None if request.folder is None or request.validates else Path(request.folder)
    calls = patient(client)
    fields["after"] = [(_array_or_task(calls, each), how) for each, how in fields["after"]]
    fields = with_ids(calls, folder, command, fields)
    if request.array is not None:
        _submit_array(calls, request.array, command, fields, request.validates, as_json=as_json)
        return 0
    if request.validates:
        _validate(calls, command, fields, as_json=as_json)
        return 0
    task = create(calls, command, fields)
    if request.waits:
        return outcome(wait(client, task, as_json=as_json))
    print_result(task, task.id, as_json=as_json)
    return 0


def _array_or_task(client: Client, named: str) -> str:
    """Name an array, which is a sweep, as the option --after does: sbatch has one kind of id."""
    if not WHOLE.fullmatch(named):
        return named
    try:
        client.get_sweep(named)
    except NotFound:
        return named
    return SWEEP + named


def _validate(
    client: Client, command: tuple[str, ...], fields: dict[str, Any], *, as_json: bool
) -> None:
    request_fields = given_fields(command, fields)
    task = client.validate(request_fields.pop("job_name"), **request_fields)
    if as_json:
        print_json(task)
        return
    when = starts(task.start_estimate, time.time()) if task.HasField("start_estimate") else ""
    text = f"{task.job_name} can be submitted" + (f"; it starts {when}" if when else "")
    click.echo(clean(text).plain)


def _submit_array(
    client: Client,
    array: Array,
    command: tuple[str, ...],
    fields: dict[str, Any],
    validates: bool,
    *,
    as_json: bool,
) -> None:
    request_fields = given_fields(literal(command), fields)
    env = dict(request_fields.get("env", {}))
    names = zip(env, literal(list(env.values())), strict=True)
    request_fields["env"] = {**dict(names), **array.variables}
    parameters = {PARAMETER: list(array.indexes)}
    with valid_text():
        task = CreateTaskRequest(**request_fields)
        if validates:
            made = client.validate_sweep(task, parameters, max_parallel=array.max_parallel or 0)
        else:
            made = client.create_sweep(
                task,
                parameters,
                name=request_fields["job_name"],
                max_parallel=array.max_parallel or 0,
            )
    if as_json:
        print_json(made)
    elif validates:
        click.echo(
            clean(f"{request_fields['job_name']} can be submitted: {made.total} tasks").plain
        )
    else:
        click.echo(made.id)


def _parse(words: tuple[str, ...], problems: Problems) -> tuple[Request, tuple[str, ...]]:
    """Return the request and its command. Raises BadScript."""
    options, rest = split(words, "command line")
    wrapped = read(options, Problems()).wrap
    if wrapped is not None:
        request = read(options, problems)
        request.fields.setdefault("job_name", "wrap")
        return request, ("sh", "-c", wrapped)
    if not rest:
        raise BadScript("name a file, or give --wrap=COMMAND")
    path, arguments = Path(rest[0]), rest[1:]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadScript(f"cannot read {path}: {reason}") from error
    of_script = []
    for where, line in directives(text):
        of_line, more = split(line, where)
        if more and of_line and of_line[-1].name in OPTIONS:  # Else the value of an unknown one.
            raise BadScript(f"{where}: {more[0]!r} is not an option")
        of_script += of_line
    request = read([*of_script, *options], problems)
    request.fields.setdefault("job_name", given_fields((path.name,), {})["job_name"])
    if request.folder is None:
        return request, command_of(text, path.name, arguments)
    folder = Path(request.folder)
    if not folder.is_dir():
        raise BadScript(f"--chdir: folder {folder} not found")
    if path.resolve().is_relative_to(folder.resolve()):
        inside = str(path.resolve().relative_to(folder.resolve()))
        return request, command_of_file(text, inside, arguments)
    return request, command_of(text, path.name, arguments)


def _check(problems: Problems, *, lenient: bool) -> None:
    """Report options without a counterpart, and wrong ones. Raises CommandError."""
    if problems.wrong:
        raise CommandError(
            "Some options can't be used:\n"
            + "\n".join(f"  {clean(p).plain}" for p in problems.wrong),
            "",
            ExitCode.USAGE,
        )
    if not problems.unsupported:
        return
    listed = "\n".join(f"  {clean(p).plain}" for p in problems.unsupported)
    if lenient:
        console(stderr=True).print(
            f"Left out:\n{listed}", markup=False, highlight=False, style="dim"
        )
        return
    raise CommandError(
        f"These options of sbatch have no counterpart:\n{listed}",
        "Remove them, or submit without them by --lenient. "
        "docs/cluster-sbatch.md lists the options.",
        ExitCode.USAGE,
    )
