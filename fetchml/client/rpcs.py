"""RPCs of tasks: the name, request and reply of each, and whether it may be repeated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from uuid import uuid4

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.client.notify_targets import Target, target
from fetchml.client.secret_uses import secret_use
from fetchml.v1 import task_pb2
from fetchml.v1.task_pb2 import (
    FULL,
    CreateTaskRequest,
    DatasetSpec,
    Dependency,
    Environment,
    SecretUse,
    Task,
)

MAX_MESSAGE_BYTES = 1 << 20
"""The largest message that a server accepts."""
FRAMING_BYTES = 8
"""The overhead of a task in a message, in bytes."""

Reply = TypeVar("Reply", covariant=True)  # noqa: PLC0105  # `Rpc[Reply]` is what is read


class Rpc(NamedTuple, Generic[Reply]):
    """One call."""

    method: str
    """`Service/Method`. A service without a package is one of fetchml.v1."""
    request: Message
    """The request, or the first one of a stream."""
    reply: type[Reply]
    repeatable: bool = True
    """Whether a repeated call has the same effect as one."""
    deletes: bool = False
    """Whether NotFound after a retry is a success."""

    @property
    def wire(self) -> tuple[str, Callable[[Message], bytes], Callable[[bytes], Reply]]:
        """Return the arguments of a gRPC channel: path, request serializer, reply parser."""
        path = f"/{self.method}" if "." in self.method else f"/fetchml.v1.{self.method}"
        parse: Callable[[bytes], Reply] = self.reply.FromString  # type: ignore[attr-defined]
        return path, type(self.request).SerializeToString, parse


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


# Tasks


def create_task(job_name: str, fields: TaskFields) -> Rpc[Task]:
    """Raises ValueError for a value that does not fit its field."""
    request = CreateTaskRequest(job_name=job_name, **_plain(fields))
    _make_repeatable(request)
    return Rpc("TaskService/CreateTask", request, Task)


def validate_task(job_name: str, fields: TaskFields) -> Rpc[Task]:
    """Raises ValueError for a value that does not fit its field."""
    request = CreateTaskRequest(job_name=job_name, validate_only=True, view=FULL, **_plain(fields))
    return Rpc("TaskService/CreateTask", request, Task)


def _plain(fields: TaskFields) -> dict[str, Any]:
    """Return the fields of the message. Raises ValueError for a time without a time zone."""
    plain: dict[str, Any] = {**fields}
    if "start_after" in fields:
        plain["start_after"] = _timestamp("start_after", fields["start_after"])
    if "after" in fields:
        plain["after"] = [
            Dependency(task_id=each) if isinstance(each, str) else each for each in fields["after"]
        ]
    if "secrets" in fields:
        plain["secrets"] = [secret_use(each) for each in fields["secrets"]]
    if "notify" in fields:
        plain["notify"] = [target(each) for each in fields["notify"]]
    return plain


def _timestamp(name: str, time: datetime) -> Timestamp:
    """Raises ValueError for a time without a time zone."""
    if time.tzinfo is None:
        raise ValueError(f"{name} needs a time zone, such as datetime.UTC")
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def create_tasks(
    requests: Iterable[CreateTaskRequest],
) -> tuple[Rpc[task_pb2.CreateTasksResponse], list[task_pb2.CreateTasksRequest]]:
    """Return the call and its messages, as few as possible. Raises ValueError for a task that does
    not fit in a message."""
    batches = [task_pb2.CreateTasksRequest()]
    size = 0
    for request in requests:
        copied = CreateTaskRequest()
        copied.CopyFrom(request)
        _make_repeatable(copied)
        more = copied.ByteSize() + FRAMING_BYTES
        if more > MAX_MESSAGE_BYTES:
            raise ValueError(
                f"A task takes {more:,} bytes; one message holds {MAX_MESSAGE_BYTES:,}"
            )
        if size + more > MAX_MESSAGE_BYTES:
            batches.append(task_pb2.CreateTasksRequest())
            size = 0
        batches[-1].tasks.append(copied)
        size += more
    reply = task_pb2.CreateTasksResponse
    return Rpc("TaskService/CreateTasks", batches[0], reply), batches


def _make_repeatable(request: CreateTaskRequest) -> None:
    request.view = FULL
    if not request.HasField("idempotency_key"):
        request.idempotency_key = str(uuid4())


def get_task(task_id: str) -> Rpc[Task]:
    request = task_pb2.GetTaskRequest(task_id=task_id, view=FULL)
    return Rpc("TaskService/GetTask", request, Task)


def list_tasks(
    where: ListWhere,
    *,
    limit: int | None = None,
    offset: int | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> Rpc[task_pb2.TaskList]:
    """Select a page by `limit` and `offset`, or by `page_size` and `page_token`."""
    request = task_pb2.ListTasksRequest(
        limit=limit,
        offset=offset,
        page_size=page_size,
        page_token=page_token,
        view=FULL,
        **_list_filters(where),
    )
    return Rpc("TaskService/ListTasks", request, task_pb2.TaskList)


def update_task(
    task_id: str,
    priority: int | None,
    metadata: Mapping[str, str] | None,
    hold: bool | None,
    start_after: datetime | None,
    timeout_seconds: int | None,
    notify: Sequence[Target] | None,
) -> Rpc[Task]:
    """Raises ValueError for a value that does not fit its field."""
    given = {
        "priority": priority,
        "metadata": metadata,
        "hold": hold,
        "timeout_seconds": timeout_seconds,
        "start_after": None if start_after is None else _timestamp("start_after", start_after),
        "notify": None if notify is None else [target(each) for each in notify],
    }
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    # The mask also names what becomes empty.
    request = task_pb2.UpdateTaskRequest(
        task_id=task_id, view=FULL, update_mask=FieldMask(paths=fields), **fields
    )
    return Rpc("TaskService/UpdateTask", request, Task)


def retry_task(task_id: str, idempotency_key: str | None) -> Rpc[Task]:
    key = idempotency_key or str(uuid4())
    request = task_pb2.RetryTaskRequest(task_id=task_id, idempotency_key=key, view=FULL)
    return Rpc("TaskService/RetryTask", request, Task)


def interrupt_task(task_id: str) -> Rpc[task_pb2.TaskInterruption]:
    request = task_pb2.InterruptTaskRequest(task_id=task_id)
    return Rpc("TaskService/InterruptTask", request, task_pb2.TaskInterruption, repeatable=False)


def declare_lost(task_id: str) -> Rpc[Task]:
    request = task_pb2.DeclareTaskLostRequest(task_id=task_id, view=FULL)
    return Rpc("TaskService/DeclareTaskLost", request, Task)


def cancel_task(task_id: str) -> Rpc[Task]:
    request = task_pb2.CancelTaskRequest(task_id=task_id, view=FULL)
    return Rpc("TaskService/CancelTask", request, Task)


def delete_task(task_id: str) -> Rpc[Empty]:
    request = task_pb2.DeleteTaskRequest(task_id=task_id)
    return Rpc("TaskService/DeleteTask", request, Empty, deletes=True)


def watch_tasks(
    where: Where, *, task_id: str = "", since_seq: int | None = None
) -> Rpc[task_pb2.WatchTasksResponse]:
    request = task_pb2.WatchTasksRequest(
        task_id=task_id, since_seq=since_seq, view=FULL, **_filters(where)
    )
    return Rpc("TaskService/WatchTasks", request, task_pb2.WatchTasksResponse)


def explain_task(task_id: str) -> Rpc[task_pb2.TaskExplanation]:
    request = task_pb2.ExplainTaskRequest(task_id=task_id)
    return Rpc("TaskService/ExplainTask", request, task_pb2.TaskExplanation)


def _filters(where: Where) -> Where:
    """Return the filter with a list of states, since an iterator can be read only once."""
    return {**where, "states": list(where["states"])} if "states" in where else where


def _list_filters(where: ListWhere) -> dict[str, Any]:
    """Raises ValueError for a time without a time zone."""
    filters: dict[str, Any] = dict(_filters(where))
    for name in ("created_after", "created_before"):
        if name in filters:
            filters[name] = _timestamp(name, filters[name])
    return filters
