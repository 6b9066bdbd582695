"""`fetchml submit`"""

import os
import re
from pathlib import Path, PurePath
from typing import Any

import click

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.errors import ExitCode
from fetchml.cli.param_types import Duration
from fetchml.cli.render import clean, console, print_json
from fetchml.cli.snapshot import whole_id
from fetchml.cli.upload import keep
from fetchml.cli.wait import wait
from fetchml.client import Client, DatasetSpec, Task


class Int32(click.types.IntParamType):
    """What a message can carry; the rules are the server's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if not -(1 << 31) <= number < 1 << 31:
            self.fail(f"{number} does not fit in 32 bits", param, ctx)
        return number


class KeyValue(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`; a key alone takes its value from the environment, if `or_environment`."""

    name = "KEY=VALUE"

    def __init__(self, *, or_environment: bool = False) -> None:
        self._or_environment = or_environment

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        key, equals, content = str(value).partition("=")
        if not equals and self._or_environment and key in os.environ:
            return key, os.environ[key]
        if not equals or not key:
            extra = " (or a variable that is set here)" if self._or_environment else ""
            self.fail(f"{value!r} is not KEY=VALUE{extra}", param, ctx)
        return key, content


class DatasetParam(click.ParamType[DatasetSpec]):
    """`name=…,source=…,sha256=…,mount_path=…`, each of them at most once."""

    name = "KEY=VALUE,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DatasetSpec:
        known = [field.name for field in DatasetSpec.DESCRIPTOR.fields]
        fields: dict[str, str] = {}
        for part in str(value).split(","):
            key, equals, content = part.partition("=")
            if key not in known or key in fields or not equals:
                self.fail(f"{part!r}: give {', '.join(f'{name}=…' for name in known)}", param, ctx)
            fields[key] = content
        return DatasetSpec(**fields)


def job_name(command: tuple[str, ...]) -> str:
    """A name for a job that was given none: that of its script, else of its program."""
    script = next((part for part in command if part.endswith((".py", ".sh"))), None)
    name = PurePath(script or (command[0] if command else "task")).stem
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", name)[:64].strip("-") or "task"


# What follows the command's first word is the command's, as with `docker run`.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1)
@click.option("--name", "-n", "job_name", metavar="NAME", help="Job name. Default: the script's.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the code: sent as a snapshot, unless the server has it.",
)
@click.option("--image", metavar="IMAGE", help="Container image.")
@click.option("--args", metavar="LINE", help="More arguments in one line, split as a shell would.")
@click.option("--priority", "-p", type=Int32(), metavar="1-10", help="10 is the most urgent.")
@click.option("--cpu", type=Int32(), metavar="CORES", help="CPU cores.")
@click.option(
    "--memory-gb", type=Int32(), metavar="GIB", help="Memory; more than that ends the task."
)
@click.option("--gpu", type=Int32(), metavar="N", help="GPUs.")
@click.option(
    "--preemptible",
    is_flag=True,
    default=None,
    help="It may be stopped, and begun anew later, when a more urgent task needs its place.",
)
@click.option(
    "--env",
    "-e",
    type=KeyValue(or_environment=True),
    multiple=True,
    help="Environment variable. A name alone takes its value from here. May be repeated.",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="A dataset of the server, under /data/NAME. May be repeated.",
)
@click.option(
    "--dataset-spec",
    "dataset_specs",
    type=DatasetParam(),
    multiple=True,
    help="A dataset by name, source, sha256, mount_path. May be repeated.",
)
@click.option("--snapshot", "snapshot_id", metavar="ID", help="Snapshot of the code.")
@click.option("--experiment", "experiment_id", metavar="ID", help="Experiment that it belongs to.")
@click.option(
    "--metadata", "-m", type=KeyValue(), multiple=True, help="Free label. May be repeated."
)
@click.option(
    "--timeout", "timeout_seconds", type=Duration(), help="Time limit: 90, 30m, 12h, 2d. 0: none."
)
@click.option(
    "--retries", "max_retries", type=Int32(), metavar="N", help="Try again so often if it fails."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Submit once, however often this is called with it. Default: a new one.",
)
@click.option("--wait", "-w", "do_wait", is_flag=True, help="Follow the task until it ends.")
@json_option
@server_option
def submit(
    client: Client,
    command: tuple[str, ...],
    *,
    folder: Path | None,
    do_wait: bool,
    as_json: bool,
    **fields: Any,
) -> int:
    """Submit a training task: COMMAND with its arguments, after all options.

    Prints the task's id. With --wait, shows how it goes and what it writes, and ends with the
    task's own exit code, 1 if it failed otherwise. Ctrl-C then leaves the task running.

    \b
    fetchml submit -- python train.py --epochs 3
    fetchml submit --wait --gpu 1 --memory-gb 16 --timeout 12h -- python train.py
    fetchml submit --dir . --wait
    fetchml submit -n hello --image alpine -e WHO=world -- sh -c 'echo "hello $WHO"'
    """
    if folder is not None:
        fields = with_code(client, folder, command, fields)
    elif fields["snapshot_id"] is not None:
        fields = {**fields, "snapshot_id": whole_id(client, fields["snapshot_id"])}
    task = create(client, command, fields)
    if do_wait:
        return outcome(wait(client, task, as_json=as_json))
    if as_json:
        print_json(task)
        return 0
    click.echo(task.id)
    hints = console(stderr=True)
    if hints.is_terminal:
        hints.print(clean(f"{task.job_name} is queued. Follow it: fetchml logs -f {task.id}"))
    return 0


def with_code(
    client: Client, folder: Path, command: tuple[str, ...], fields: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a task that runs the folder's code. What was given stays."""
    if fields["snapshot_id"] is not None:
        raise click.UsageError("Give --dir or --snapshot, not both")
    kept, (tree, _, _) = keep(client, folder)
    commit: dict[str, str] = {}
    if tree.git_commit is not None:
        commit = {"git_commit": tree.git_commit, "git_dirty": str(tree.git_dirty).lower()}
    return {
        **fields,
        "snapshot_id": kept.id,
        "job_name": fields["job_name"] or job_name(command or (folder.resolve().name,)),
        "metadata": {**commit, **dict(fields["metadata"])},
    }


def create(client: Client, command: tuple[str, ...], fields: dict[str, Any]) -> Task:
    """Tried again when no answer comes: the key in the request makes many tries one task."""
    warn = console(stderr=True)
    patient = client.with_options(
        retries=True,
        on_cut=lambda why: warn.print(
            f"{why}; trying again, it is submitted only once", style="dim"
        ),
    )
    given = given_fields(command, fields)
    try:
        return patient.submit(given.pop("job_name"), **given)
    except ValueError as error:
        # Text that is not UTF-8, in protobuf's words.
        raise click.UsageError(str(error)) from error


def given_fields(command: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Just the fields that were given, with a name for the job."""
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    for name in ("env", "metadata"):
        if name in given:
            given[name] = dict(given[name])
    return {"job_name": job_name(command), "command": command, **given}


def outcome(task: Task) -> int:
    """The exit code that tells how the task ended."""
    if task.status == Task.completed:
        return 0
    return task.exit_code or ExitCode.FAILED
