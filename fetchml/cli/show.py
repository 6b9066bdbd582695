"""`fetchml show`"""

import shlex
import time
from collections.abc import Iterator
from contextlib import suppress

import click
from rich.text import Text

from fetchml.cli.connect import json_option, server_option
from fetchml.cli.render import clean, duration, local_time, print_json, show_details, size
from fetchml.cli.tables import run_time, status_text
from fetchml.client import CallError, Client, Task, TaskExplanation, ended, enum_name, enum_names
from fetchml.v1.task_pb2 import Dependency, TaskAttempt
from fetchml.v1.usage_pb2 import TaskUsagePoint

MIB = 1 << 20


@click.command()
@click.argument("task_id")
@json_option
@server_option
def show(client: Client, task_id: str, *, as_json: bool) -> None:
    """Show one task: status, times, attempts, resources, outputs."""
    task = client.get(task_id)
    if as_json:
        print_json(task)
        return
    show_details(_lines(client, task))


def _lines(client: Client, task: Task) -> Iterator[tuple[str, Text]]:
    """Yield the name and text of each value that the task has."""
    yield "id", Text(task.id)
    yield "job", clean(task.job_name)
    yield "status", status_text(task)
    if ended(task):
        if task.error:
            yield "error", clean(task.error)
        if task.note:
            yield "note", clean(task.note)
    else:
        why = client.explain(task.id)
        if why.position:
            yield "position", Text(f"{why.position} in the queue")
        yield "why", clean(why.reason)
        if why.HasField("estimate"):
            yield "starts", clean(starts(why.estimate, time.time()))
    plain = {
        "user": task.user_id,
        "priority": str(task.priority),
        "submitted": local_time(task.created_at),
        "started": local_time(task.started_at) if task.HasField("started_at") else "",
        "ended": local_time(task.ended_at) if task.HasField("ended_at") else "",
        "ran": run_time(task),
        "exit code": str(task.exit_code) if task.HasField("exit_code") else "",
        "attempt": _attempt(task),
        **{f"attempt {each.number}": _earlier(each) for each in task.earlier_attempts},
        "image": task.image,
        "command": shlex.join(task.command),
        "args": task.args,
        "needs": _needs(task),
        "gpus": ", ".join(task.gpu_uuids),
        "preemptible": "yes" if task.preemptible else "",
        "checkpoint": _checkpoint(task),
        "slurm": ", ".join(f"{name}={value}" for name, value in sorted(task.slurm.items())),
        "time limit": f"{task.timeout_seconds} s" if task.timeout_seconds else "",
        "warning": f"{task.warn_seconds} s before SIGTERM" if task.warn_seconds else "",
        "after": ", ".join(map(_dependency, task.after)),
        "inputs from": ", ".join(task.inputs_from),
        "not before": local_time(task.start_after) if task.HasField("start_after") else "",
        "held": "yes" if task.held else "",
        "gpus idle": f"since {local_time(task.idle_since)}" if task.HasField("idle_since") else "",
        "may idle": "yes" if task.may_idle else "",
        "snapshot": task.snapshot_id,
        "environment": _environment(task),
        "datasets": ", ".join([*task.datasets, *(spec.name for spec in task.dataset_specs)]),
        "volumes": ", ".join(task.volumes),
        "secrets": ", ".join(each.name for each in task.secrets),
        "notifies": _notify(task),
        "variables": ", ".join(task.env_names),
        "experiment": task.experiment_id,
        "metadata": ", ".join(f"{key}={value}" for key, value in sorted(task.metadata.items())),
        "sweep": f"{task.sweep_id} #{task.sweep_index}" if task.sweep_id else "",
        "parameters": ", ".join(f"{key}={value}" for key, value in sorted(task.parameters.items())),
        "cancelled by": task.cancel_requested_by,
        "rerun of": task.rerun_of,
        **ran_with(task),
    }
    for name, value in plain.items():
        if value:
            yield name, clean(value)
    if task.HasField("started_at"):
        for name, value in _use(client, task).items():
            yield name, Text(value)
    if ended(task):
        for output in client.outputs(task.id):
            yield "output", clean(f"{output.path} ({size(output.size_bytes)})")


def ran_with(task: Task) -> dict[str, str]:
    """Return what the task ran with, by name."""
    found = task.ran_with
    versions = {"kernel": found.kernel, "driver": found.driver, "CUDA": found.cuda}
    sums = {each.name: each.sha256 or each.listing for each in found.datasets}
    return {
        "ran on": ", ".join(
            [*filter(None, [found.host]), *(f"{k} {v}" for k, v in versions.items() if v)]
        ),
        "gpu models": ", ".join(found.gpus),
        "ran image": found.image_digest or found.image_id,
        "packages": found.environment,
        "dataset sums": ", ".join(f"{name}={each}" for name, each in sums.items() if each),
        "ran by": f"FetchML {found.release}" if found.release else "",
    }


def _notify(task: Task) -> str:
    lines = []
    for each in task.notify:
        events = ", ".join(enum_names(each, "on"))
        lines.append(f"{each.url} ({events})")
    return "; ".join(lines)


def _environment(task: Task) -> str:
    fields = task.environment.ListFields()
    return f"{fields[0][1]} ({fields[0][0].name})" if fields else ""


def _use(client: Client, task: Task) -> dict[str, str]:
    """Return the resources that the task used, as far as there are samples."""
    total = TaskUsagePoint()
    with suppress(CallError):  # An older server has no samples.
        total = client.usage(task.id, points=1).total
    if not total.samples:
        return {}
    peak, mean = (size(int(mb * MIB)) for mb in (total.memory_mb_max, total.memory_mb))
    return {
        "used cores": f"{total.cpu_cores:.2f} on average, at most {total.cpu_cores_max:.2f}",
        "used memory": f"at most {peak}, {mean} on average",
    }


def starts(estimate: TaskExplanation.StartEstimate, now: float) -> str:
    """Format an estimate. `now` is in seconds since the epoch."""
    p50, p90 = (at.ToMilliseconds() / 1000 - now for at in (estimate.p50, estimate.p90))
    text = f"within {duration(p50)} (50 % likely), within {duration(p90)} (90 % likely)"
    if estimate.checked:
        text += (
            f"; {estimate.held_p50_percent} % and {estimate.held_p90_percent} % of "
            f"{estimate.checked} earlier estimates held"
        )
    return text


def _attempt(task: Task) -> str:
    counted = [f"retries: {task.retry_count} of {task.max_retries}"]
    if task.infra_retries:
        counted.append(f"host failures: {task.infra_retries}")
    if task.preempted:
        counted.append(f"preempted: {task.preempted}")
    return f"{task.attempt} ({', '.join(counted)})"


_CAUSES = {
    TaskAttempt.retry: "retried",
    TaskAttempt.host_fault: "tried again: a fault of the host, no retry",
    TaskAttempt.preempted: "preempted, no retry",
    TaskAttempt.interrupted: "queued again, no retry",
    TaskAttempt.discarded: "prestaged and discarded",
}


def _earlier(attempt: TaskAttempt) -> str:
    """Return how an earlier attempt ended and why the task was queued again, where and when."""
    parts = [attempt.error, _CAUSES.get(attempt.cause, "queued again")]
    if attempt.worker_id:
        parts.append(f"on {attempt.worker_id}")
    exited = attempt.exited_at
    if attempt.HasField("started_at"):
        ran = (exited.ToMilliseconds() - attempt.started_at.ToMilliseconds()) / 1000
        parts.append(f"ran {duration(ran)}")
    parts.append(f"until {local_time(exited)}")
    return ", ".join(part for part in parts if part)


def _checkpoint(task: Task) -> str:
    if not task.checkpoint:
        return ""
    return f"yes, begun from {task.checkpoint_from}" if task.checkpoint_from else "yes"


def _dependency(on: Dependency) -> str:
    what = on.task_id or f"all of sweep {on.sweep_id}"
    if on.task_id and on.sweep_id:
        what += f" (same index in sweep {on.sweep_id})"
    return f"{what} {enum_name(on, 'condition')}"


def _needs(task: Task) -> str:
    needs = {"CPU cores": task.cpu, "GiB of memory": task.memory_gb, "GPUs": task.gpu}
    return ", ".join(f"{count} {what}" for what, count in needs.items() if count)
