"""JSON of tasks, updates and health for REST and `/ws`, with the contract's field names.

Unset fields are left out (contract reading 13); times are RFC 3339 in UTC (reading 14).
"""

import functools
import time
from typing import Any

import msgspec

from fetchml.core.model import (
    Attempt,
    DatasetSpec,
    Dependency,
    Environment,
    NotifyTarget,
    RanWith,
    Task,
)
from fetchml.core.requests import secrets
from fetchml.views import Batch, Health, Update


def rfc3339(ms: int) -> str:
    """Format a time given in milliseconds since the epoch (UTC)."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def task_json(task: Task, *, full: bool = False, output: str | None = None) -> dict[str, object]:
    """`full`: include the fields that the contract does not define. `output`: the tail of the log,
    `None` to leave it out."""
    spec = task.spec
    body: dict[str, object] = {
        "id": task.id,
        "job_name": spec.job_name,
        "status": task.shown_status,
        "priority": spec.priority,
        "created_at": rfc3339(task.created_at),
        "user_id": task.user,
        "retry_count": task.retry_count,
        "max_retries": spec.max_retries,
    }
    if task.started_at is not None:
        body["started_at"] = rfc3339(task.started_at)
    if task.ended_at is not None:
        body["ended_at"] = rfc3339(task.ended_at)
    if task.worker_id is not None:
        body["worker_id"] = task.worker_id
    if task.error is not None:
        body["error"] = task.error
    if output is not None:
        body["output"] = output
    if spec.snapshot_id is not None:
        body["snapshot_id"] = spec.snapshot_id
    if spec.datasets:
        body["datasets"] = spec.datasets
    if spec.cpu is not None:
        body["cpu"] = spec.cpu
    if spec.memory_gb is not None:
        body["memory_gb"] = spec.memory_gb
    if spec.gpu is not None:
        body["gpu"] = spec.gpu
    if full:
        body.update(_beyond_the_contract(task))
    return body


def _beyond_the_contract(task: Task) -> dict[str, object]:
    spec, cancel = task.spec, task.cancel
    body: dict[str, object] = {
        "image": spec.image,
        "command": spec.command,
        "timeout_seconds": spec.timeout_seconds,
        "attempt": task.attempt,
        "infra_retries": task.infra_retries,
        "preemptible": spec.preemptible,
        "preempted": task.preempted,
    }
    optional = {
        "exit_code": task.exit_code,
        "failure_reason": task.failure_reason,
        "args": spec.args,
        # Values may be secrets, so only names are shown.
        "env_names": sorted(spec.env or ()) or None,
        "metadata": spec.metadata or None,
        "experiment_id": spec.experiment_id,
        "dataset_specs": [_dataset_json(dataset) for dataset in spec.dataset_specs or ()] or None,
        "slurm": spec.slurm or None,
        "progress": task.progress,
        "note": task.kept.note if task.kept is not None else None,
        "not_before": rfc3339(task.not_before) if task.not_before else None,
        "cancel_requested_at": rfc3339(cancel.at) if cancel else None,
        "cancel_requested_by": cancel.by if cancel else None,
        "gpu_uuids": task.gpu_uuids or None,
        "ahead": task.prestaged or None,
        "checkpoint": spec.checkpoint or None,
        "checkpoint_from": spec.checkpoint_from,
        "warn_seconds": spec.warn_seconds or None,
        "after": [_dependency_json(each) for each in spec.after or ()] or None,
        "inputs_from": spec.inputs_from,
        "start_after": rfc3339(spec.start_after) if spec.start_after is not None else None,
        "held": task.is_held or None,
        "environment": _environment_json(spec.environment),
        "volumes": spec.volumes or None,
        "idle_since": rfc3339(task.idle_since) if task.idle_since is not None else None,
        "may_idle": spec.may_idle or None,
        "secrets": secrets.request_of(spec.secrets) if spec.secrets else None,
        "notify": [target_json(each, each.shown_url) for each in spec.notify or ()] or None,
        "begun_at": rfc3339(task.begun_at) if task.begun_at is not None else None,
        "allocated_at": rfc3339(task.allocated_at) if task.allocated_at is not None else None,
        "exited_at": rfc3339(task.exited_at) if task.exited_at is not None else None,
        "earlier_attempts": [_attempt_json(each) for each in task.earlier_attempts] or None,
        "parameters": spec.parameters or None,
        "ran_with": ran_with_json(task.ran_with) if task.ran_with is not None else None,
        "rerun_of": spec.rerun.of if spec.rerun is not None else None,
    }
    if (sweep := spec.sweep) is not None:
        optional["sweep_id"] = sweep.id
        optional["sweep_index"] = sweep.index
    body.update((name, value) for name, value in optional.items() if value is not None)
    return body


def _dependency_json(each: Dependency) -> dict[str, object]:
    body: dict[str, object] = {"task_id": each.task_id} if each.task_id else {}
    body["condition"] = each.condition
    if each.sweep_id:
        body["sweep_id"] = each.sweep_id
    if each.same_index:
        body["same_index"] = True
    return body


def _attempt_json(attempt: Attempt) -> dict[str, object]:
    body: dict[str, object] = {"number": attempt.number, "cause": attempt.cause}
    times = {
        "begun_at": attempt.begun_at,
        "allocated_at": attempt.allocated_at,
        "started_at": attempt.started_at,
        "exited_at": attempt.exited_at,
    }
    body.update((name, rfc3339(at)) for name, at in times.items() if at is not None)
    optional = {
        "worker_id": attempt.worker_id,
        "failure_reason": attempt.failure_reason,
        "exit_code": attempt.exit_code,
        "error": attempt.error or None,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return body


def _environment_json(environment: Environment | None) -> dict[str, object] | None:
    return None if environment is None else environment.request or None


def ran_with_json(ran_with: RanWith) -> dict[str, Any]:
    """The fields that are known, by the names that they have on the wire too."""
    fields: dict[str, Any] = msgspec.to_builtins(ran_with)
    return fields


def target_json(target: NotifyTarget, url: str) -> dict[str, object]:
    """`url`: the whole one, or what others may see of it."""
    return {"url": url, "on": target.on}


def _dataset_json(dataset: DatasetSpec) -> dict[str, str]:
    fields = {
        "name": dataset.name,
        "source": dataset.source,
        "sha256": dataset.sha256,
        "mount_path": dataset.mount_path,
    }
    return {name: value for name, value in fields.items() if value is not None}


def update_json(update: Update, *, full: bool = False) -> dict[str, object]:
    """A `/ws` message (contract reading 29)."""
    if update.task is None:
        return {"type": update.type, "seq": update.seq}
    return {
        "type": update.type,
        "seq": update.seq,
        "timestamp": rfc3339(update.at),
        "task": task_json(update.task, full=full),
    }


def batch_json(batch: Batch, *, full: bool) -> dict[str, object]:
    """A `/ws` message of a connection that asked for batches."""
    body: dict[str, object] = {
        "type": "task_batch",
        "seq": batch.seq,
        "timestamp": rfc3339(batch.at),
        "tasks": [task_json(task, full=full) for task in batch.tasks],
    }
    if batch.deleted:
        body["deleted"] = [task_json(task, full=full) for task in batch.deleted]
    return body


def health_json(health: Health, version: str, now_ms: int) -> dict[str, object]:
    return {"status": health.status, "version": version, "timestamp": rfc3339(now_ms)}
