"""`fetchml submit`"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import click

from fetchml.cli import passport, project_folder, references
from fetchml.cli.connect import json_option, patient, server_option, valid_text
from fetchml.cli.errors import ExitCode
from fetchml.cli.ids import experiment_id_of as id_of
from fetchml.cli.param_types import Int32
from fetchml.cli.project_folder import implied, upload_folder
from fetchml.cli.render import clean, console, print_json
from fetchml.cli.snapshot import snapshot_id_of
from fetchml.cli.task_options import task_options
from fetchml.cli.wait import outcome, wait
from fetchml.client import Client, CreateTaskRequest, Task
from fetchml.client.arguments import task_fields
from fetchml.core.snapshots import PROJECT_FILE

NOTHING_TO_RUN = """There is nothing to run. Give a command, or a folder with code:

  fetchml submit -- echo hello
  fetchml submit --dir . -- python train.py"""


def job_name(command: tuple[str, ...]) -> str:
    """Return the default name of a job: that of its script, else of its program."""
    script = next((part for part in command if part.endswith((".py", ".sh"))), None)
    name = PurePath(script or (command[0] if command else "task")).stem
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", name)[:64].strip("-") or "task"


class SubmitCommand(click.Command):
    """With `--wait`, failures of the client itself have separate exit codes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _own_failures(waits=bool({"--wait", "-w"} & set(args))):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _own_failures(waits=ctx.params["do_wait"]):
            return super().invoke(ctx)


@contextmanager
def _own_failures(*, waits: bool) -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        if waits:
            error.exit_code = ExitCode.OWN_FAILURE  # type: ignore[misc]  # main reads it here
        raise


# Options after the command's first word belong to the command, as with `docker run`.
@click.command(cls=SubmitCommand, context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1)
@task_options
@click.option(
    "--priority", "-p", type=Int32(), metavar="1-10", help="Priority. 10 is the most urgent."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Create only one task, however often this key is used. Default: a new key.",
)
@click.option(
    "--passport",
    "passport_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run the task of a file of 'fetchml passport'. Other options replace its fields.",
)
@click.option("--wait", "-w", "do_wait", is_flag=True, help="Follow the task until it ends.")
@json_option
@server_option
def submit(
    client: Client,
    command: tuple[str, ...],
    *,
    folder: Path | None,
    passport_file: Path | None,
    do_wait: bool,
    as_json: bool,
    **fields: Any,
) -> int:
    """Submit a task that runs COMMAND. Options come before the command.

    Prints the task's id. While the server is unavailable, the command retries for 30 seconds; the
    task is created only once. With --wait, shows its status and its log, and exits with the task's
    exit code. The exit code is 125 if the task ends without one, as a cancelled task does, and for
    failures of this command. Ctrl-C leaves the task running.

    \b
    Examples:
      fetchml submit --wait -- echo hello
      fetchml submit --dir . -- python train.py --epochs 3
      fetchml submit --dir . --wait --gpu 1 --timeout 12h -- python train.py
      fetchml submit --after @last -- python evaluate.py
      fetchml submit --after sweep:@last:ended -- python report.py
      fetchml submit -n hello --image alpine -e NAME=Ada -- sh -c 'echo $NAME'
    """
    named = (command, folder, passport_file, *(fields[e] for e in ("args", "image", "snapshot_id")))
    if not any(named):
        raise click.UsageError(NOTHING_TO_RUN)
    calls = patient(client)
    given = with_ids(calls, folder, command, fields)
    if passport_file is not None:
        task = create_by_passport(calls, passport_file, command, given)
    else:
        task = create(calls, command, given)
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


def with_ids(
    client: Client,
    folder: Path | None,
    command: tuple[str, ...],
    fields: dict[str, Any],
    set_by_file: Collection[str] = (),
) -> dict[str, Any]:
    """Replace what the options and the code's fetchml.toml name by ids; a folder is uploaded.
    `set_by_file`: fields that another file sets, which wins over fetchml.toml."""
    if fields["experiment_id"] is not None:
        fields = {**fields, "experiment_id": id_of(client, fields["experiment_id"])}
    fields = {**fields, **references.of_options(client, fields)}
    if folder is not None:
        return with_code(client, folder, command, fields, set_by_file)
    if fields["snapshot_id"] is None:
        return fields
    fields = {**fields, "snapshot_id": snapshot_id_of(client, fields["snapshot_id"])}
    project = project_folder.of_snapshot(client, fields["snapshot_id"])
    return _with_references(client, project, fields, set_by_file)


def _with_references(
    client: Client,
    project: Mapping[str, Any] | None,
    fields: dict[str, Any],
    set_by_file: Collection[str],
) -> dict[str, Any]:
    """Add what fetchml.toml names by less than a whole id, unless the task has it already."""
    missing = {
        name: value
        for name, value in (project or {}).items()
        if name not in set_by_file and fields.get(name) in (None, ())
    }
    return {**fields, **references.of_file(client, missing, PROJECT_FILE)}


def with_code(
    client: Client,
    folder: Path,
    command: tuple[str, ...],
    fields: dict[str, Any],
    set_by_file: Collection[str] = (),
) -> dict[str, Any]:
    """Upload a folder, and return the fields of a task that runs its code."""
    if fields["snapshot_id"] is not None:
        raise click.UsageError("Give --dir or --snapshot, not both")
    snapshot, (tree, _, _) = upload_folder(client, folder)
    environment = fields["environment"]
    if environment is None:
        environment = implied(client, folder, tree.paths, command, fields["image"])
    project = project_folder.of_folder(folder, tree.paths)
    fields = _with_references(client, project, fields, set_by_file)
    commit: dict[str, str] = {}
    if tree.git_commit is not None:
        commit = {"git_commit": tree.git_commit, "git_dirty": str(tree.git_dirty).lower()}
    return {
        **fields,
        "snapshot_id": snapshot.id,
        "environment": environment,
        "job_name": fields["job_name"] or job_name(command or (folder.resolve().name,)),
        "metadata": {**commit, **dict(fields["metadata"])},
    }


def create(client: Client, command: tuple[str, ...], fields: dict[str, Any]) -> Task:
    """Create the task. An idempotency key keeps retries from creating a second one."""
    request_fields = given_fields(command, fields)
    with valid_text():
        return client.submit(request_fields.pop("job_name"), **request_fields)


def create_by_passport(
    client: Client, path: Path, command: tuple[str, ...], fields: dict[str, Any]
) -> Task:
    """Create the task of a passport, with the given fields in place of its own."""
    found = passport.read(path)
    given: Any = given_fields(command, fields)
    if not fields["job_name"]:
        del given["job_name"]
    with valid_text():
        request = CreateTaskRequest(**task_fields(given))
        return client.submit_request(passport.complete(client, found, request))


def given_fields(command: tuple[str, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that were given, with a job name."""
    present = {name: value for name, value in fields.items() if value not in (None, ())}
    for name in ("env", "metadata", "slurm"):
        if name in present:
            present[name] = dict(present[name])
    return {"job_name": job_name(command), "command": command, **present}
