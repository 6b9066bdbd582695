"""`fetchml passport`, and what `fetchml submit --passport` reads."""

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import click
from google.protobuf import json_format

from fetchml.cli.connect import server_option
from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.render import clean, json_line, size
from fetchml.client import Client, CreateTaskRequest, Task, enum_name, to_json
from fetchml.v1.snapshot_pb2 import SnapshotFile

FORMAT = "fetchml-passport-1"
MAX_BYTES = 64 << 20
"""Largest passport, and the largest code in one."""
_KEPT = (
    *("job_name", "command", "args", "snapshot_id", "datasets", "cpu", "memory_gb", "gpu"),
    *("metadata", "timeout_seconds", "max_retries", "preemptible", "checkpoint"),
    *("warn_seconds", "volumes", "secrets", "slurm", "environment"),
)
"""Fields of a task that a request has too, under the same names."""
_READ = (*_KEPT, "image", "dataset_specs")
_GRANTED = ("secrets", "volumes")
"""Fields that the submitter has to give again: the code of a passport is somebody else's."""
_MAX_DEPTH = 20


@click.command()
@click.argument("task_id")
@click.option("--with-code", is_flag=True, help="Include the code of the snapshot.")
@server_option
def passport(client: Client, task_id: str, *, with_code: bool) -> None:
    """Print all that another server needs to run a task again, as JSON.

    It has the request, what the task ran with, and its packages. It has no values of variables and
    secrets: 'fetchml submit --passport' takes these with -e, and names those that are missing.

    \b
    Examples:
      fetchml passport @last --with-code > run.json
      fetchml submit --passport run.json -e SEED=1 --server other:9102
    """
    task = client.get(task_id)
    packages = list(client.packages(task_id))
    found: dict[str, Any] = {
        "format": FORMAT,
        "task_id": task.id,
        "task": _request(task, packages),
        "variables": list(task.env_names),
        "ran_with": to_json(task.ran_with),
        "packages": packages,
    }
    if with_code and task.snapshot_id:
        found["code"] = base64.b64encode(_archive(client, task.snapshot_id)).decode()
    click.echo(json_line(found))


def _request(task: Task, packages: list[str]) -> dict[str, Any]:
    """Return the request that asks for the same task, pinned to what it ran with."""
    fields = {name: value for name, value in to_json(task).items() if name in _KEPT}
    ran_with = task.ran_with
    fields["image"] = ran_with.image_digest or ran_with.image_id or task.image
    sums = {each.name: each.sha256 for each in ran_with.datasets if each.sha256}
    specs = [to_json(each) for each in task.dataset_specs]
    if specs:
        fields["dataset_specs"] = [
            each | ({"sha256": sums[each["name"]]} if each.get("name") in sums else {})
            for each in specs
        ]
    if packages and task.HasField("environment") and not task.environment.project:
        fields["environment"] = {**fields["environment"], "versions": packages}
    return fields


def _archive(client: Client, snapshot_id: str) -> bytes:
    """Return the files of a snapshot as a tar.gz archive, without times and owners."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for file in client.snapshot_files(snapshot_id):
            member = tarfile.TarInfo(file.path)
            content = b""
            if file.kind == SnapshotFile.link:
                member.type, member.linkname = tarfile.SYMTYPE, file.target
            else:
                content = b"".join(client.read_snapshot_file(snapshot_id, file.path))
                member.mode = 0o755 if file.kind == SnapshotFile.executable else 0o644
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            if written.tell() > MAX_BYTES // 2:
                raise CommandError(
                    f"The code is larger than {size(MAX_BYTES // 2)}, packed",
                    "Leave out --with-code, and upload it: fetchml snapshot create",
                )
    return written.getvalue()


class Passport(NamedTuple):
    request: CreateTaskRequest
    variables: list[str]
    """Names of variables whose values are not in it."""
    code: bytes


def read(path: Path) -> Passport:
    """Read a passport, which may come from anybody. Raises CommandError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"larger than {size(MAX_BYTES)}")
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        fields = {name: found["task"][name] for name in _READ if name in found["task"]}
        request = json_format.ParseDict(fields, CreateTaskRequest(), max_recursion_depth=_MAX_DEPTH)
        names, code = found.get("variables", []), found.get("code", "")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise ValueError("'variables' is not a list of names")
        if not isinstance(code, str):
            raise ValueError("'code' is not text")
        return Passport(request, names, base64.b64decode(code, validate=True))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, json_format.Error) as error:
        why = clean(str(error)[:200]).plain
        raise CommandError(
            f"{clean(str(path)).plain} is not a valid passport: {why}",
            "'fetchml passport TASK' prints one.",
            ExitCode.USAGE,
        ) from None


def complete(client: Client, found: Passport, given: CreateTaskRequest) -> CreateTaskRequest:
    """Return the request to send: that of the passport, with the fields that were given in place
    of its own. Uploads the code. Raises CommandError, naming all that the server lacks."""
    request = CreateTaskRequest()
    request.CopyFrom(found.request)
    for field, _ in given.ListFields():
        if field.name != "env":
            request.ClearField(field.name)
    for name in _GRANTED:
        request.ClearField(name)
    request.MergeFrom(given)
    lacks = _missing(client, request, found)
    if lacks:
        raise CommandError(
            "The task needs what is not there: " + "; ".join(clean(each).plain for each in lacks),
            "Add it to the server, or give it with the option of 'fetchml submit'.",
            ExitCode.CONFLICT,
        )
    if request.image.startswith("sha256:"):
        click.echo("The image was built on its host: no registry has it (--image)", err=True)
    return request


def _missing(client: Client, request: CreateTaskRequest, found: Passport) -> list[str]:
    known = set(client.server_info().datasets)
    lacks = [f"dataset {name}" for name in request.datasets if name not in known]
    lacks += [
        f"variable {each} (-e {each}=…)" for each in found.variables if each not in request.env
    ]
    secrets = {each.name for each in request.secrets}
    for secret in found.request.secrets:
        if secret.name not in secrets:
            lacks.append(f"secret {secret.name} (--secret {secret.name}:{enum_name(secret, 'as')})")
    for volume in found.request.volumes:
        if volume not in request.volumes:
            lacks.append(f"volume {volume} (--volume {volume})")
    if request.snapshot_id and client.find_snapshot(request.snapshot_id) is None:
        if not found.code:
            lacks.append(f"snapshot {request.snapshot_id} (fetchml passport --with-code has it)")
        elif not lacks and client.send_archive(found.code).id != request.snapshot_id:
            lacks.append("code: that of the passport is not the snapshot that it names")
    return lacks
