"""Protobuf messages of tasks and updates, and gRPC requests as plain values for the engine.

A keyword argument of `None` leaves a message's field unset, and the enumerations in the core use
protobuf's value names. Every task created or watched over gRPC is converted here, so `fill_task`
does what costs least: it assigns only the fields that are set, and enumerations by number.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.api.task_json import ran_with_json, rfc3339
from fetchml.core.environments import MAX_VERSIONS, VERSIONS
from fetchml.core.model import (
    Attempt,
    Condition,
    DatasetSpec,
    Dependency,
    Environment,
    EventKind,
    NotifyTarget,
    RanWith,
    Requeue,
    SecretForm,
    SecretUse,
    Status,
    Task,
)
from fetchml.core.notifications import MAX_TARGETS
from fetchml.core.requests.checks import LATEST_MS, MAX_ENTRIES, MAX_ITEMS
from fetchml.errors import BadRequest
from fetchml.v1 import task_pb2
from fetchml.views import Update

_STATUS_NUMBER: dict[Status, Any] = {s: task_pb2.Task.Status.Value(s) for s in Status}
_STATUS = {int(number): status for status, number in _STATUS_NUMBER.items()}
_CONDITION_NUMBER: dict[Condition, Any] = {
    each: task_pb2.Dependency.Condition.Value(each) for each in Condition
}
_CAUSE_NUMBER: dict[Requeue, Any] = {
    each: task_pb2.TaskAttempt.Cause.Value(each) for each in Requeue
}
_FORM_NUMBER = {each: int(task_pb2.SecretUse.Form.Value(each)) for each in SecretForm}
_FORM = {number: str(each) for each, number in _FORM_NUMBER.items()}
_EVENT_NUMBER: dict[EventKind, Any] = {
    each: task_pb2.NotifyTarget.Event.Value(each) for each in EventKind
}
_EVENT = {int(number): str(each) for each, number in _EVENT_NUMBER.items()}
_CONDITION = {int(number): str(each) for each, number in _CONDITION_NUMBER.items()}


def timestamp(ms: int | None) -> Timestamp | None:
    """Convert milliseconds since the epoch (UTC). Returns `None` if `ms` is `None`."""
    if ms is None:
        return None
    stamp = Timestamp()
    _set_time(stamp, ms)
    return stamp


def milliseconds(stamp: Timestamp) -> int:
    """Convert to milliseconds since the epoch, even if the timestamp is out of its type's range."""
    return int(stamp.seconds) * 1000 + int(stamp.nanos) // 1_000_000


def time_text(stamp: Timestamp) -> str:
    """Convert to the text of a REST body. A time beyond the limits becomes a malformed one."""
    ms = milliseconds(stamp)
    return rfc3339(ms) if 0 <= ms <= LATEST_MS else "out of range"


def _set_time(stamp: Timestamp, ms: int) -> None:
    stamp.seconds = ms // 1000
    stamp.nanos = ms % 1000 * 1_000_000


_IS_FULL: dict[int, bool] = {
    task_pb2.VIEW_UNSPECIFIED: False,
    task_pb2.BASIC: False,
    task_pb2.FULL: True,
}


def wants_full(view: int) -> bool:
    """Return whether the request asks for the full view. Raises BadRequest for an unknown view."""
    if (full := _IS_FULL.get(view)) is not None:
        return full
    raise BadRequest(f"view: {view} is not BASIC (1) or FULL (2)")


def task_message(task: Task, *, full: bool = False, output: str | None = None) -> task_pb2.Task:
    """`full`: include the fields that the contract does not define. `output`: the tail of the log,
    `None` to leave it out."""
    message = task_pb2.Task()
    fill_task(message, task, full=full, output=output)
    return message


def fill_task(
    message: task_pb2.Task, task: Task, *, full: bool = False, output: str | None = None
) -> None:
    """Fill an empty message as `task_message` does.

    Filling a message that already belongs to a reply's list costs half as much as copying one
    into the list.
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
    spec, cancel, sweep = task.spec, task.cancel, task.spec.sweep
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
        slurm=spec.slurm,
        note=task.kept.note if task.kept is not None else None,
        checkpoint=spec.checkpoint or None,
        checkpoint_from=spec.checkpoint_from,
        warn_seconds=spec.warn_seconds or None,
        after=[_dependency_message(each) for each in spec.after or ()],
        inputs_from=spec.inputs_from,
        start_after=timestamp(spec.start_after),
        held=task.is_held or None,
        volumes=spec.volumes,
        secrets=[_secret_message(each) for each in spec.secrets or ()],
        sweep_id=sweep.id if sweep is not None else None,
        sweep_index=sweep.index if sweep is not None else None,
        parameters=spec.parameters,
        ran_with=_ran_with_message(task.ran_with),
        rerun_of=spec.rerun.of if spec.rerun is not None else None,
        environment=_environment_message(spec.environment),
        idle_since=timestamp(task.idle_since),
        may_idle=spec.may_idle or None,
        notify=[target_message(each, each.shown_url) for each in spec.notify or ()],
        begun_at=timestamp(task.begun_at),
        allocated_at=timestamp(task.allocated_at),
        exited_at=timestamp(task.exited_at),
        earlier_attempts=[_attempt_message(each) for each in task.earlier_attempts],
    )


def _attempt_message(attempt: Attempt) -> task_pb2.TaskAttempt:
    return task_pb2.TaskAttempt(
        number=attempt.number,
        cause=_CAUSE_NUMBER[attempt.cause],
        begun_at=timestamp(attempt.begun_at),
        allocated_at=timestamp(attempt.allocated_at),
        started_at=timestamp(attempt.started_at),
        exited_at=timestamp(attempt.exited_at),
        worker_id=attempt.worker_id,
        failure_reason=attempt.failure_reason,
        exit_code=attempt.exit_code,
        error=attempt.error or None,
    )


def _ran_with_message(ran_with: RanWith | None) -> task_pb2.RanWith | None:
    return None if ran_with is None else task_pb2.RanWith(**ran_with_json(ran_with))


def target_message(target: NotifyTarget, url: str) -> task_pb2.NotifyTarget:
    """`url`: the whole one, or what others may see of it."""
    return task_pb2.NotifyTarget(url=url, on=[_EVENT_NUMBER[each] for each in target.on])


def target_fields(message: task_pb2.NotifyTarget) -> dict[str, Any]:
    """Convert to the shape of the REST body. A number that is no event becomes a malformed one."""
    fields = _set_fields(message)
    numbers = list(fields.pop("on", ())[: len(_EVENT) + 1])
    if numbers:
        fields["on"] = [_EVENT.get(each, str(each)) for each in numbers]
    return fields


def _environment_message(environment: Environment | None) -> task_pb2.Environment | None:
    if environment is None or environment.source is None:
        return None
    return task_pb2.Environment(
        requirements=environment.requirements,
        project=environment.project,
        script=environment.script,
        versions=environment.versions,
    )


def _environment_fields(message: task_pb2.Environment) -> dict[str, Any]:
    fields = _set_fields(message)
    if VERSIONS in fields:
        fields[VERSIONS] = list(message.versions[: MAX_VERSIONS + 1])
    return fields


def _dataset_message(dataset: DatasetSpec) -> task_pb2.DatasetSpec:
    return task_pb2.DatasetSpec(
        name=dataset.name,
        source=dataset.source,
        sha256=dataset.sha256,
        mount_path=dataset.mount_path,
    )


def _secret_message(each: SecretUse) -> task_pb2.SecretUse:
    # `as` is no name that Python code can write.
    fields: dict[str, Any] = {"name": each.name, "as": _FORM_NUMBER[each.form]}
    return task_pb2.SecretUse(**fields)


def _secret_fields(message: task_pb2.SecretUse) -> dict[str, Any]:
    """A number that is no form becomes a malformed one."""
    fields = {"name": message.name} | _set_fields(message)
    number = fields.pop("as", 0)
    return {**fields, "as": _FORM.get(number, str(number))} if number else fields


def _dependency_message(each: Dependency) -> task_pb2.Dependency:
    return task_pb2.Dependency(
        task_id=each.task_id or None,
        condition=_CONDITION_NUMBER[each.condition],
        sweep_id=each.sweep_id or None,
        same_index=each.same_index or None,
    )


def _dependency_fields(message: task_pb2.Dependency) -> dict[str, Any]:
    """A number that is no condition becomes a malformed one."""
    fields = _set_fields(message)
    number = fields.pop("condition", 0)
    return {**fields, "condition": _CONDITION.get(number, str(number))} if number else fields


def _set_fields(message: Any) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


# For these fields protobuf returns views of the message rather than plain values.
# One item more than a rule allows is enough to violate the rule.
_PLAIN: dict[str, Callable[[Any], object]] = {
    "datasets": lambda names: list(names[: MAX_ITEMS + 1]),
    "dataset_specs": lambda specs: [_set_fields(spec) for spec in specs[: MAX_ITEMS + 1]],
    "metadata": lambda entries: dict(islice(entries.items(), MAX_ENTRIES + 1)),
    "command": lambda words: list(words[: MAX_ITEMS + 1]),
    "volumes": lambda names: list(names[: MAX_ITEMS + 1]),
    "without": lambda names: list(names[: MAX_ITEMS + 1]),
    "secrets": lambda uses: [_secret_fields(each) for each in uses[: MAX_ITEMS + 1]],
    "env": lambda entries: dict(islice(entries.items(), MAX_ENTRIES + 1)),
    "after": lambda tasks: [_dependency_fields(each) for each in tasks[: MAX_ITEMS + 1]],
    "inputs_from": lambda ids: list(ids[: MAX_ITEMS + 1]),
    "start_after": time_text,
    "slurm": lambda entries: dict(islice(entries.items(), MAX_ENTRIES + 1)),
    "environment": _environment_fields,
    "notify": lambda targets: [target_fields(each) for each in targets[: MAX_TARGETS + 1]],
}
_NOT_PART_OF_TASK = frozenset({"idempotency_key", "view", "validate_only"})
"""Fields that control the reply rather than describe the task."""
_CREATE_FIELDS = {
    field: (field.name, _PLAIN.get(field.name))
    for field in task_pb2.CreateTaskRequest.DESCRIPTOR.fields
    if field.name not in _NOT_PART_OF_TASK
}


_NOTHING: Mapping[str, Any] = {}


def split_create(
    request: task_pb2.CreateTaskRequest,
) -> tuple[dict[str, object], Mapping[str, Any]]:
    """Return the fields that are set: those that describe the task, in the shape of the REST body,
    and those that control the reply."""
    fields: dict[str, object] = {}
    controls = _NOTHING
    for field, value in request.ListFields():
        known_field = _CREATE_FIELDS.get(field)
        if known_field is None:
            controls = {**controls, field.name: value}
            continue
        name, plain = known_field
        fields[name] = value if plain is None else plain(value)
    return fields, controls


def states_of(numbers: Iterable[int], field: str = "states") -> tuple[Status, ...]:
    """Convert protobuf's numbers. Raises BadRequest, naming `field`, for an unknown number."""
    states = []
    for number in numbers:
        if number not in _STATUS:
            raise BadRequest(
                f"{field}: unknown state {number}; expected one of {', '.join(Status)}"
            )
        states.append(_STATUS[number])
    return tuple(states)


def update_message(update: Update, *, full: bool) -> task_pb2.WatchTasksResponse:
    """Convert an update. `full`: include the fields that the contract does not define."""
    return task_pb2.WatchTasksResponse(
        type=update.type,
        seq=update.seq,
        timestamp=timestamp(update.at),
        task=task_message(update.task, full=full) if update.task else None,
    )
