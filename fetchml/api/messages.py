"""The model as protobuf messages, and requests as the plain values that the engine takes.

A constructor's keyword of `None` leaves its field unset, and our enumerations have protobuf's
names. Every task that is created or watched over gRPC passes here: a message costs least if its
fields are assigned, only those that are set, and enumerations as numbers.
"""

import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.core.audit import AuditEntry
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import DatasetSpec, Key, Role, Status, Task
from fetchml.core.requests.checks import MAX_ENTRIES, MAX_ITEMS
from fetchml.core.requests.experiment import Experiment
from fetchml.core.requests.snapshot import Snapshot
from fetchml.engine.gpus import GpuReport, GpuStatus
from fetchml.errors import BadRequest
from fetchml.v1 import (
    audit_pb2,
    experiment_pb2,
    gpu_pb2,
    jupyter_pb2,
    key_pb2,
    queue_pb2,
    snapshot_pb2,
    task_pb2,
)
from fetchml.views import (
    Explanation,
    JupyterView,
    OutputFile,
    QueueStats,
    StartEstimate,
    Update,
)

_STATUS_NUMBER: dict[Status, Any] = {s: task_pb2.Task.Status.Value(s) for s in Status}
_STATUS = {int(number): status for status, number in _STATUS_NUMBER.items()}
_ROLE = {int(key_pb2.Key.Role.Value(role)): role for role in Role}


def timestamp(ms: int | None) -> Timestamp | None:
    """`ms`: milliseconds since the epoch (UTC)."""
    if ms is None:
        return None
    stamp = Timestamp()
    _set_time(stamp, ms)
    return stamp


def milliseconds(stamp: Timestamp) -> int:
    """The time in milliseconds since the epoch, also for a stamp out of the range of its type."""
    return int(stamp.seconds) * 1000 + int(stamp.nanos) // 1_000_000


def _set_time(stamp: Timestamp, ms: int) -> None:
    stamp.seconds = ms // 1000
    stamp.nanos = ms % 1000 * 1_000_000


def wants_full(view: int) -> bool:
    """Raises BadRequest for a view that this server doesn't know."""
    if view == task_pb2.FULL:
        return True
    if view in {task_pb2.VIEW_UNSPECIFIED, task_pb2.BASIC}:
        return False
    raise BadRequest(f"view: {view} is not BASIC (1) or FULL (2)")


def task_message(task: Task, *, full: bool = False, output: str | None = None) -> task_pb2.Task:
    """`full`: with the fields beyond the contract's."""
    message = task_pb2.Task()
    fill_task(message, task, full=full, output=output)
    return message


def fill_task(
    message: task_pb2.Task, task: Task, *, full: bool = False, output: str | None = None
) -> None:
    """Set the fields of a message that has none yet, as `task_message` does.

    A message that was added to a list of another costs half as much as one that is copied there.
    """
    spec = task.spec
    message.id = task.id
    message.job_name = spec.job_name
    message.status = _STATUS_NUMBER[task.shown_status]
    message.priority = spec.priority
    message.user_id = task.user
    message.retry_count = task.retry_count
    message.max_retries = spec.max_retries
    _set_time(message.created_at, task.created_at)
    if task.started_at is not None:
        _set_time(message.started_at, task.started_at)
    if task.ended_at is not None:
        _set_time(message.ended_at, task.ended_at)
    if task.worker_id is not None:
        message.worker_id = task.worker_id
    if task.error is not None:
        message.error = task.error
    if output is not None:
        message.output = output
    if spec.snapshot_id is not None:
        message.snapshot_id = spec.snapshot_id
    if spec.datasets is not None:
        message.datasets.extend(spec.datasets)
    if spec.cpu is not None:
        message.cpu = spec.cpu
    if spec.memory_gb is not None:
        message.memory_gb = spec.memory_gb
    if spec.gpu is not None:
        message.gpu = spec.gpu
    if full:
        message.MergeFrom(_beyond_the_contract(task))


def _beyond_the_contract(task: Task) -> task_pb2.Task:
    spec, cancel = task.spec, task.cancel
    return task_pb2.Task(
        exit_code=task.exit_code,
        failure_reason=task.failure_reason,
        image=spec.image,
        command=spec.command,
        args=spec.args,
        env_names=sorted(spec.env or ()),
        metadata=spec.metadata,
        experiment_id=spec.experiment_id,
        dataset_specs=[_dataset_message(dataset) for dataset in spec.dataset_specs or ()],
        timeout_seconds=spec.timeout_seconds,
        attempt=task.attempt,
        progress=task.progress,
        not_before=timestamp(task.not_before or None),
        cancel_requested_at=timestamp(cancel.at) if cancel else None,
        cancel_requested_by=cancel.by if cancel else None,
        gpu_uuids=task.gpu_uuids,
        ahead=task.prestaged or None,
        infra_retries=task.infra_retries,
        preemptible=spec.preemptible,
        preempted=task.preempted,
        note=task.kept.note if task.kept is not None else None,
    )


def _dataset_message(dataset: DatasetSpec) -> task_pb2.DatasetSpec:
    return task_pb2.DatasetSpec(
        name=dataset.name,
        source=dataset.source,
        sha256=dataset.sha256,
        mount_path=dataset.mount_path,
    )


def _set_fields(message: Any) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


# What protobuf hands out for these are views of the message, not plain values.
# One item more than a rule allows is enough to break it.
_PLAIN: dict[str, Callable[[Any], object]] = {
    "datasets": lambda names: list(names[: MAX_ITEMS + 1]),
    "dataset_specs": lambda specs: [_set_fields(spec) for spec in specs[: MAX_ITEMS + 1]],
    "metadata": lambda entries: dict(islice(entries.items(), MAX_ENTRIES + 1)),
    "command": lambda words: list(words[: MAX_ITEMS + 1]),
    "env": lambda entries: dict(islice(entries.items(), MAX_ENTRIES + 1)),
}
_OF_THE_CALL = frozenset({"idempotency_key", "view"})
"""Fields that say how to answer, not what to run."""
_CREATE_FIELDS = {
    field: (field.name, _PLAIN.get(field.name))
    for field in task_pb2.CreateTaskRequest.DESCRIPTOR.fields
    if field.name not in _OF_THE_CALL
}


def create_fields(request: task_pb2.CreateTaskRequest) -> dict[str, object]:
    """Exactly the fields that were set, in the shape of the REST body."""
    fields: dict[str, object] = {}
    for field, value in request.ListFields():
        known = _CREATE_FIELDS.get(field)
        if known is not None:
            name, plain = known
            fields[name] = value if plain is None else plain(value)
    return fields


def states_of(numbers: Iterable[int], field: str = "states") -> tuple[Status, ...]:
    """Raises BadRequest, naming the field, for a number that is no state."""
    states = []
    for number in numbers:
        if number not in _STATUS:
            raise BadRequest(f"{field}: {number} is not a state: use one of {', '.join(Status)}")
        states.append(_STATUS[number])
    return tuple(states)


def update_message(update: Update, *, full: bool) -> task_pb2.WatchTasksResponse:
    return task_pb2.WatchTasksResponse(
        type=update.type,
        seq=update.seq,
        timestamp=timestamp(update.at),
        task=task_message(update.task, full=full) if update.task else None,
    )


def explanation_message(explanation: Explanation) -> task_pb2.TaskExplanation:
    return task_pb2.TaskExplanation(
        task_id=explanation.task_id,
        status=explanation.status,
        reason=explanation.reason,
        position=explanation.position,
        missing=[
            task_pb2.TaskExplanation.ResourceShortage(
                resource=lack.resource,
                requested=lack.requested,
                free=lack.free,
                total=lack.total,
                blocked=lack.blocked,
            )
            for lack in explanation.missing
        ],
        progress=explanation.progress,
        estimate=_estimate_message(explanation.estimate) if explanation.estimate else None,
    )


def _estimate_message(estimate: StartEstimate) -> task_pb2.TaskExplanation.StartEstimate:
    return task_pb2.TaskExplanation.StartEstimate(
        p50=timestamp(estimate.p50),
        p90=timestamp(estimate.p90),
        checked=estimate.checked or None,
        held_p50_percent=estimate.held_p50_percent,
        held_p90_percent=estimate.held_p90_percent,
    )


def outputs_message(files: Iterable[OutputFile]) -> task_pb2.TaskOutputs:
    return task_pb2.TaskOutputs(
        outputs=[
            task_pb2.TaskOutput(
                # A task may give a file any bytes as its name; protobuf takes only UTF-8.
                path=os.fsencode(file.path).decode("utf-8", "replace"),
                size_bytes=file.size_bytes,
                modified_at=timestamp(file.modified_at),
            )
            for file in files
        ]
    )


def queue_message(stats: QueueStats) -> queue_pb2.QueueStats:
    return queue_pb2.QueueStats(
        queued=stats.queued,
        running=stats.running,
        completed=stats.completed,
        failed=stats.failed,
        workers=stats.workers,
    )


def audit_message(entry: AuditEntry) -> audit_pb2.AuditEntry:
    return audit_pb2.AuditEntry(
        id=entry.id,
        at=timestamp(entry.at),
        action=entry.action,
        target=entry.target,
        user_id=entry.user,
        key_id=entry.key_id,
        address=entry.address or None,
        outcome=entry.outcome,
        detail=entry.detail,
    )


def experiment_message(experiment: Experiment, *, full: bool = False) -> experiment_pb2.Experiment:
    """`full`: with the fields beyond the contract's."""
    return experiment_pb2.Experiment(
        id=experiment.id,
        name=experiment.name,
        commit_id=experiment.commit_id,
        created_at=timestamp(experiment.created_at),
        status=experiment.status,
        description=experiment.description if full else None,
        user_id=experiment.user if full else None,
    )


def role_of(number: int) -> Role | None:
    return _ROLE.get(number)


def key_message(key: Key) -> key_pb2.Key:
    return key_pb2.Key(
        id=key.id,
        name=key.name,
        role=key.role,
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        last_used_at=timestamp(key.last_used_at),
        revoked_at=timestamp(key.revoked_at),
    )


def snapshot_message(snapshot: Snapshot) -> snapshot_pb2.Snapshot:
    return snapshot_pb2.Snapshot(
        id=snapshot.id,
        size_bytes=snapshot.size_bytes,
        created_at=timestamp(snapshot.created_at),
        file_count=snapshot.file_count,
        used_at=timestamp(snapshot.used_at),
        user_ids=snapshot.users,
        git_commit=snapshot.git_commit,
        git_dirty=snapshot.git_dirty,
    )


def jupyter_message(service: JupyterView, *, full: bool = False) -> jupyter_pb2.JupyterServiceInfo:
    """`full`: with the fields beyond the contract's."""
    message = jupyter_pb2.JupyterServiceInfo(
        id=service.id,
        name=service.name,
        status=service.status,
        url=service.url,
        token=service.token,
        created_at=timestamp(service.created_at),
    )
    if full:
        message.MergeFrom(
            jupyter_pb2.JupyterServiceInfo(
                user_id=service.user,
                image=service.image,
                workspace=service.workspace,
                cpu=service.cpu,
                memory_gb=service.memory_gb,
                gpu=service.gpu,
                reason=service.reason,
                started_at=timestamp(service.started_at),
                ended_at=timestamp(service.ended_at),
                last_activity=timestamp(service.last_activity),
                stops_at=timestamp(service.stops_at),
            )
        )
    return message


def gpus_message(report: GpuReport) -> gpu_pb2.GpuList:
    return gpu_pb2.GpuList(
        gpus=[gpu_message(status) for status in report.gpus],
        driver=report.driver,
        problem=report.problem,
        notes=report.notes,
    )


def gpu_message(status: GpuStatus) -> gpu_pb2.Gpu:
    gpu, reading = status.gpu, status.reading
    return gpu_pb2.Gpu(
        uuid=gpu.uuid,
        number=status.number,
        name=gpu.name or None,
        state=status.condition,
        reason=status.reason,
        task_ids=status.held_by,
        memory_mb=gpu.memory_mb or None,
        memory_used_mb=reading.used_mb if reading else None,
        temperature_c=reading.temperature_c if reading else None,
        utilisation_percent=reading.utilisation_percent if reading else None,
        processes=[_process_message(process) for process in reading.processes] if reading else (),
        parent_uuid=gpu.parent,
        drained_by=status.drained_by,
    )


def _process_message(process: GpuProcess) -> gpu_pb2.GpuProcess:
    return gpu_pb2.GpuProcess(
        pid=process.pid,
        name=process.name or None,
        memory_mb=process.memory_mb,
        task_id=process.task_id,
    )
