"""The model as the JSON of REST and /ws: the contract's names, and nothing that is not set."""

import functools
import os
import time
from collections.abc import Iterable

from fetchml.core.audit import AuditEntry
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import DatasetSpec, Task
from fetchml.core.requests.experiment import Experiment
from fetchml.core.requests.pruning import Pruned
from fetchml.core.requests.snapshot import Snapshot
from fetchml.engine.gpus import GpuReport, GpuStatus
from fetchml.files.storage_usage import UserStorage
from fetchml.views import (
    Explanation,
    Health,
    JupyterView,
    OutputFile,
    QueueStats,
    Shortage,
    StartEstimate,
    Update,
)


def rfc3339(ms: int) -> str:
    """`ms`: milliseconds since the epoch (UTC)."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def task_json(task: Task, *, full: bool = False, output: str | None = None) -> dict[str, object]:
    """`full`: with the fields beyond the contract's."""
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
        # Values may be secrets: never shown.
        "env_names": sorted(spec.env or ()) or None,
        "metadata": spec.metadata or None,
        "experiment_id": spec.experiment_id,
        "dataset_specs": [_dataset_json(dataset) for dataset in spec.dataset_specs or ()] or None,
        "progress": task.progress,
        "note": task.kept.note if task.kept is not None else None,
        "not_before": rfc3339(task.not_before) if task.not_before else None,
        "cancel_requested_at": rfc3339(cancel.at) if cancel else None,
        "cancel_requested_by": cancel.by if cancel else None,
        "gpu_uuids": task.gpu_uuids or None,
        "ahead": task.prestaged or None,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return body


def _dataset_json(dataset: DatasetSpec) -> dict[str, str]:
    fields = {
        "name": dataset.name,
        "source": dataset.source,
        "sha256": dataset.sha256,
        "mount_path": dataset.mount_path,
    }
    return {name: value for name, value in fields.items() if value is not None}


def experiment_json(experiment: Experiment, *, full: bool = False) -> dict[str, object]:
    """`full`: with the fields beyond the contract's."""
    body: dict[str, object] = {
        "id": experiment.id,
        "name": experiment.name,
        "created_at": rfc3339(experiment.created_at),
        "status": experiment.status,
    }
    if experiment.commit_id is not None:
        body["commit_id"] = experiment.commit_id
    if full:
        body["user_id"] = experiment.user
        if experiment.description is not None:
            body["description"] = experiment.description
    return body


def update_json(update: Update, *, full: bool = False) -> dict[str, object]:
    """A message of /ws."""
    if update.task is None:
        return {"type": update.type, "seq": update.seq}
    return {
        "type": update.type,
        "seq": update.seq,
        "timestamp": rfc3339(update.at),
        "task": task_json(update.task, full=full),
    }


def queue_json(stats: QueueStats) -> dict[str, object]:
    return {
        "queued": stats.queued,
        "running": stats.running,
        "completed": stats.completed,
        "failed": stats.failed,
        "workers": stats.workers,
    }


def health_json(health: Health, version: str, now_ms: int) -> dict[str, object]:
    return {"status": health.status, "version": version, "timestamp": rfc3339(now_ms)}


def explanation_json(explanation: Explanation) -> dict[str, object]:
    body: dict[str, object] = {
        "task_id": explanation.task_id,
        "status": explanation.status,
        "reason": explanation.reason,
    }
    if explanation.position is not None:
        body["position"] = explanation.position
    if explanation.missing:
        body["missing"] = [_shortage_json(lack) for lack in explanation.missing]
    if explanation.progress is not None:
        body["progress"] = explanation.progress
    if explanation.estimate is not None:
        body["estimate"] = _estimate_json(explanation.estimate)
    return body


def _shortage_json(lack: Shortage) -> dict[str, object]:
    body: dict[str, object] = {
        "resource": lack.resource,
        "requested": lack.requested,
        "free": lack.free,
        "total": lack.total,
    }
    if lack.blocked:
        body["blocked"] = lack.blocked
    return body


def _estimate_json(estimate: StartEstimate) -> dict[str, object]:
    fields = {
        "p50": rfc3339(estimate.p50),
        "p90": rfc3339(estimate.p90),
        "checked": estimate.checked or None,
        "held_p50_percent": estimate.held_p50_percent,
        "held_p90_percent": estimate.held_p90_percent,
    }
    return {name: value for name, value in fields.items() if value is not None}


def audit_json(entry: AuditEntry) -> dict[str, object]:
    fields = {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "action": entry.action,
        "target": entry.target,
        "user_id": entry.user,
        "key_id": entry.key_id,
        "address": entry.address or None,
        "outcome": entry.outcome,
        "detail": entry.detail,
    }
    return {name: value for name, value in fields.items() if value is not None}


def output_json(file: OutputFile) -> dict[str, object]:
    return {
        # A task may give a file any bytes as its name; JSON holds none that are not UTF-8.
        "path": os.fsencode(file.path).decode("utf-8", "replace"),
        "size_bytes": file.size_bytes,
        "modified_at": rfc3339(file.modified_at),
    }


def storage_json(users: Iterable[UserStorage], allowed_bytes: int) -> dict[str, object]:
    body: dict[str, object] = {
        "users": [
            {
                "user_id": user.user,
                "bytes": user.total.bytes,
                "files": user.total.files,
                "kinds": [
                    {"kind": kind.value, "bytes": used.bytes, "files": used.files}
                    for kind, used in user.used.items()
                ],
            }
            for user in users
        ]
    }
    if allowed_bytes:
        body["allowed_bytes"] = allowed_bytes
    return body


def pruned_json(pruned: Pruned) -> dict[str, object]:
    return {name: getattr(pruned, name) for name in pruned.__struct_fields__}


def snapshot_json(snapshot: Snapshot) -> dict[str, object]:
    body: dict[str, object] = {
        "id": snapshot.id,
        "size_bytes": snapshot.size_bytes,
        "file_count": snapshot.file_count,
        "created_at": rfc3339(snapshot.created_at),
        "used_at": rfc3339(snapshot.used_at),
        "user_ids": snapshot.users,
    }
    if snapshot.git_commit is not None:
        body["git_commit"] = snapshot.git_commit
    if snapshot.git_dirty is not None:
        body["git_dirty"] = snapshot.git_dirty
    return body


def jupyter_json(service: JupyterView, *, full: bool = False) -> dict[str, object]:
    """`full`: with the fields beyond the contract's."""
    body: dict[str, object] = {
        "id": service.id,
        "name": service.name,
        "status": service.status,
        "url": service.url,
        "created_at": rfc3339(service.created_at),
    }
    if service.token is not None:
        body["token"] = service.token
    if full:
        times = {
            "started_at": service.started_at,
            "ended_at": service.ended_at,
            "last_activity": service.last_activity,
            "stops_at": service.stops_at,
        }
        more = {
            "user_id": service.user,
            "image": service.image,
            "workspace": service.workspace,
            "cpu": service.cpu,
            "memory_gb": service.memory_gb,
            "gpu": service.gpu,
            "reason": service.reason,
            **{name: rfc3339(ms) for name, ms in times.items() if ms is not None},
        }
        body.update((name, value) for name, value in more.items() if value is not None)
    return body


def gpus_json(report: GpuReport) -> dict[str, object]:
    body: dict[str, object] = {"gpus": [gpu_json(status) for status in report.gpus]}
    if report.driver is not None:
        body["driver"] = report.driver
    if report.problem is not None:
        body["problem"] = report.problem
    if report.notes:
        body["notes"] = report.notes
    return body


def gpu_json(status: GpuStatus) -> dict[str, object]:
    gpu, reading = status.gpu, status.reading
    fields: dict[str, object] = {
        "uuid": gpu.uuid,
        "number": status.number,
        "name": gpu.name or None,
        "state": status.condition,
        "reason": status.reason,
        "task_ids": status.held_by or None,
        "memory_mb": gpu.memory_mb or None,
        "parent_uuid": gpu.parent,
        "drained_by": status.drained_by,
    }
    if reading is not None:
        fields["memory_used_mb"] = reading.used_mb
        fields["temperature_c"] = reading.temperature_c
        fields["utilisation_percent"] = reading.utilisation_percent
        fields["processes"] = [_process_json(each) for each in reading.processes] or None
    return {name: value for name, value in fields.items() if value is not None}


def _process_json(process: GpuProcess) -> dict[str, object]:
    fields = {
        "pid": process.pid,
        "name": process.name or None,
        "memory_mb": process.memory_mb,
        "task_id": process.task_id,
    }
    return {name: value for name, value in fields.items() if value is not None}
