"""Arguments of the client's methods: their types, and what they become in a message.

A value that does not fit its field raises ValueError.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict
from uuid import uuid4

from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.v1.sweep_pb2 import CreateSweepRequest, SweepParameter
from fetchml.v1.task_pb2 import (
    FULL,
    CreateTaskRequest,
    CreateTasksRequest,
    DatasetSpec,
    Dependency,
    Environment,
    NotifyTarget,
    SecretUse,
    Task,
)

MAX_MESSAGE_BYTES = 1 << 20
"""The largest message that a server accepts."""
FRAMING_BYTES = 8
"""The overhead of a task in a message, in bytes."""

Target = NotifyTarget | str | Mapping[str, Any]
"""An address: a NotifyTarget, a URL, or `{"url": …, "on": ["failed"]}`."""

Values = SweepParameter | Sequence[str | float | bool]
"""The values of one parameter: a list, or a SweepParameter with `range`, `uniform` or
`log_uniform`."""


class TaskFields(TypedDict, total=False):
    """Optional fields of a new task. proto/fetchml/v1/task.proto describes them."""

    priority: int
    args: str
    snapshot_id: str
    datasets: Sequence[str]
    dataset_specs: Sequence[DatasetSpec]
    cpu: int
    memory_gb: int
    gpu: int
    metadata: Mapping[str, str]
    image: str
    command: Sequence[str]
    env: Mapping[str, str]
    timeout_seconds: int
    max_retries: int
    preemptible: bool
    checkpoint: bool
    checkpoint_from: str
    warn_seconds: int
    slurm: Mapping[str, str]
    volumes: Sequence[str]
    secrets: Sequence[str | SecretUse]
    """Each a SecretUse, or `NAME`, `NAME:env` or `NAME:file`."""
    experiment_id: str
    after: Sequence[str | Dependency]
    """Ids of tasks that have to complete first, or Dependency, which may name a sweep."""
    inputs_from: Sequence[str]
    """Ids of tasks; in the task of a sweep also of sweeps, for the task with the same index."""
    start_after: datetime
    """With a time zone."""
    hold: bool
    may_idle: bool
    idempotency_key: str
    environment: Environment
    notify: Sequence[Target]
    """Each a NotifyTarget, a URL, or `{"url": …, "on": ["failed"]}`."""
    without: Sequence[str]
    """Entries of the snapshot's fetchml.toml to leave out: `secrets`, `volumes`, `notify`."""


class Where(TypedDict, total=False):
    """A filter of tasks; all must match. `states`: values such as `Task.running`, or names."""

    states: Iterable[Task.Status | str]
    user_id: str
    job_name_prefix: str
    experiment_id: str


class ListWhere(Where, total=False):
    """A filter of a list of tasks; all fields must match."""

    text: str
    """Part of the job name, the id, the command, `args` or `error`."""
    labels: Sequence[str]
    """Each `key=value`, or `key` for any value."""
    created_after: datetime
    created_before: datetime
    id_suffix: str
    sweep_id: str
    fold_sweeps: bool
    fold_experiments: bool


class LogSearch(TypedDict, total=False):
    """Options of a search in a log. proto/fetchml/v1/task.proto describes them."""

    attempt: int
    offset: int
    limit: int
    backwards: bool
    ignore_case: bool


class SweepFields(TypedDict, total=False):
    """Optional fields of a new sweep. proto/fetchml/v1/sweep.proto describes them."""

    name: str
    mode: str
    """`grid`, `zip` or `random`."""
    samples: int
    random_seed: int
    max_parallel: int
    idempotency_key: str


class JupyterFields(TypedDict, total=False):
    """Optional fields of a new Jupyter service. proto/fetchml/v1/jupyter.proto describes them."""

    workspace: str
    image: str
    cpu: int
    memory_gb: int
    gpu: int


def task_fields(fields: TaskFields) -> dict[str, Any]:
    """Return fields of a CreateTaskRequest. Raises ValueError for a time without a time zone."""
    plain: dict[str, Any] = {**fields}
    if "start_after" in fields:
        plain["start_after"] = timestamp("start_after", fields["start_after"])
    if "after" in fields:
        plain["after"] = [
            Dependency(task_id=each) if isinstance(each, str) else each for each in fields["after"]
        ]
    if "secrets" in fields:
        plain["secrets"] = [secret_use(each) for each in fields["secrets"]]
    if "notify" in fields:
        plain["notify"] = [target(each) for each in fields["notify"]]
    return plain


def timestamp(name: str, time: datetime) -> Timestamp:
    """Raises ValueError for a time without a time zone."""
    if time.tzinfo is None:
        raise ValueError(f"{name} needs a time zone, such as datetime.UTC")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def secret_use(secret: str | SecretUse) -> SecretUse:
    """Return the use that `NAME`, `NAME:env` or `NAME:file` describes. Raises ValueError."""
    if isinstance(secret, SecretUse):
        return secret
    name, colon, form = secret.partition(":")
    if form not in (("env", "file") if colon else ("",)):
        raise ValueError(f"{secret!r} is not NAME, NAME:env or NAME:file")
    # `as` is no name that Python code can write.
    described: dict[str, Any] = {"name": name, "as": SecretUse.Form.Value(form or "env")}
    return SecretUse(**described)


def target(notify_target: Target) -> NotifyTarget:
    """Raises ValueError for a name that is no event."""
    if isinstance(notify_target, NotifyTarget):
        return notify_target
    if isinstance(notify_target, str):
        return NotifyTarget(url=notify_target)
    return NotifyTarget(**notify_target)


def make_repeatable(request: CreateTaskRequest) -> None:
    """Give a request an idempotency key, so that its retries never create a second task."""
    request.view = FULL
    if not request.HasField("idempotency_key"):
        request.idempotency_key = str(uuid4())


def batches(requests: Iterable[CreateTaskRequest]) -> list[CreateTasksRequest]:
    """Return as few messages as possible. Raises ValueError for a task that does not fit in
    one."""
    parts = [CreateTasksRequest()]
    size = 0
    for request in requests:
        copied = CreateTaskRequest()
        copied.CopyFrom(request)
        make_repeatable(copied)
        more = copied.ByteSize() + FRAMING_BYTES
        if more > MAX_MESSAGE_BYTES:
            raise ValueError(
                f"A task takes {more:,} bytes; one message holds {MAX_MESSAGE_BYTES:,}"
            )
        if size + more > MAX_MESSAGE_BYTES:
            parts.append(CreateTasksRequest())
            size = 0
        parts[-1].tasks.append(copied)
        size += more
    return parts


def filters(where: Where) -> Where:
    """Return the filter with a list of states, since an iterator can be read only once."""
    return {**where, "states": list(where["states"])} if "states" in where else where


def list_filters(where: ListWhere) -> dict[str, Any]:
    """Raises ValueError for a time without a time zone."""
    fields: dict[str, Any] = dict(filters(where))
    for name in ("created_after", "created_before"):
        if name in fields:
            fields[name] = timestamp(name, fields[name])
    return fields


def sweep_request(
    task: CreateTaskRequest, parameters: Mapping[str, Values], fields: SweepFields
) -> CreateSweepRequest:
    described = {name: parameter(values) for name, values in parameters.items()}
    return CreateSweepRequest(task=task, parameters=described, **fields)


def parameter(values: Values) -> SweepParameter:
    """Raises ValueError without values, and for one that is no text, number or Boolean."""
    if isinstance(values, SweepParameter):
        return values
    if isinstance(values, str):
        raise ValueError(f"The values of a parameter must be a list, not the text {values[:64]!r}")
    try:
        listed = [_value(each) for each in values]
    except TypeError:  # One value instead of a list.
        listed = []
    if not listed:
        raise ValueError(f"The values of a parameter must be a list with items, not {values!r}")
    return SweepParameter(values=listed)


def _value(plain: str | float | bool) -> Value:
    if isinstance(plain, bool):
        return Value(bool_value=plain)
    if isinstance(plain, str):
        return Value(string_value=plain)
    if isinstance(plain, int | float):
        return Value(number_value=plain)
    raise ValueError(f"A value of a parameter must be text, a number or a Boolean, not {plain!r}")
