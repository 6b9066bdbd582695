"""The views that SQL queries of users read, and who may read which."""

from fetchml.core import permissions
from fetchml.core.model import Principal, Value

MAX_SQL = 20_000
"""Characters of a query."""


class Column(Value, frozen=True):
    """A column of a view, or of a result."""

    name: str
    type: str
    """DuckDB's."""
    description: str | None = None
    """Meaning and unit; `None` for a column of a result."""


class View(Value, frozen=True):
    """A table that queries can read."""

    name: str
    description: str
    columns: tuple[Column, ...]
    admins_only: bool = False


def _view(name: str, description: str, *columns: str, admins_only: bool = False) -> View:
    """`columns`: each `name TYPE: description`."""
    made = []
    for column in columns:
        head, _, text = column.partition(": ")
        column_name, _, kind = head.partition(" ")
        made.append(Column(column_name, kind, text))
    return View(name, description, tuple(made), admins_only)


_TASK = ("task_id VARCHAR: Id of the task", "user_id VARCHAR: User of the task")
_HOUR = ("hour TIMESTAMP: Begin of the hour",)
_RUN = ("run_id VARCHAR: Id of the run",)

VIEWS = (
    _view(
        "tasks",
        "One row for each task that was not deleted",
        "id VARCHAR: Id of the task",
        "user_id VARCHAR: User of the task",
        "job_name VARCHAR: Name of the job",
        "status VARCHAR: `queued`, `preparing`, `running`, `collecting`, `completed` or `failed`",
        "created_at TIMESTAMP: Time of the submit",
        "first_started_at TIMESTAMP: Start of the first attempt's command",
        "started_at TIMESTAMP: Start of the last attempt's command",
        "ended_at TIMESTAMP: End of the task",
        "wait_seconds DOUBLE: Time from the submit to the first start",
        "run_seconds DOUBLE: Time from the last start to the end of the command",
        "priority INTEGER: 1 to 10; 10 is the most urgent",
        "attempt INTEGER: Number of the current or last attempt",
        "retry_count INTEGER: Retries that count against `max_retries`",
        "infra_retries INTEGER: Retries after faults of the host",
        "preempted INTEGER: Attempts that were stopped for a more urgent task",
        "failure_reason VARCHAR: Reason of a failure, such as `EXIT_CODE`",
        "exit_code INTEGER: Exit code of the last attempt",
        "error VARCHAR: Error of the task or its last attempt, at most 2000 characters",
        "image VARCHAR: Container image",
        "command VARCHAR: Command and its words, at most 2000 characters",
        "args VARCHAR: Arguments, at most 2000 characters",
        "cpu INTEGER: Requested cores",
        "memory_gb INTEGER: Requested memory in GiB",
        "gpu INTEGER: Requested GPUs",
        "gpu_uuids VARCHAR[]: GPUs of the current or last attempt",
        "worker_id VARCHAR: Host of the current or last attempt",
        "experiment_id VARCHAR: Experiment that it is in",
        "sweep_id VARCHAR: Sweep that it is in",
        "sweep_index INTEGER: Its index in the sweep",
        "parameters MAP(VARCHAR, VARCHAR): Parameters that the sweep gave it",
        "labels MAP(VARCHAR, VARCHAR): Its `metadata`",
        "snapshot_id VARCHAR: Id of its code",
        "timeout_seconds BIGINT: Time limit; 0 for none",
        "outputs_bytes BIGINT: Disk use of its outputs",
        "logs_bytes BIGINT: Disk use of its logs",
    ),
    _view(
        "attempts",
        "One row for each attempt of the tasks in `tasks`",
        *_TASK,
        "number INTEGER: Number of the attempt, from 1",
        "outcome VARCHAR: Status of the task for its last attempt; else why it was queued again: "
        "`retry`, `host_fault`, `preempted`, `interrupted` or `discarded`",
        "begun_at TIMESTAMP: When its preparation began",
        "allocated_at TIMESTAMP: When it got its resources",
        "started_at TIMESTAMP: Start of its command",
        "exited_at TIMESTAMP: When its processes were gone",
        "run_seconds DOUBLE: Time from the start to the exit",
        "worker_id VARCHAR: Host that ran it",
        "failure_reason VARCHAR: Reason of its failure",
        "exit_code INTEGER: Exit code of its command",
        "error VARCHAR: Its error, at most 2000 characters",
    ),
    _view(
        "events",
        "One row for each change of the tasks in `tasks`, as far back as `[history] journal_rows`",
        "seq BIGINT: Number of the change",
        "changed_at TIMESTAMP: Time of the change",
        *_TASK,
        "status VARCHAR: Status from then on",
        "attempt INTEGER: Number of the attempt",
        "retry_count INTEGER: Retries so far",
        "priority INTEGER: Priority from then on",
        "worker_id VARCHAR: Host of the attempt",
        "gpu_uuids VARCHAR[]: GPUs of the attempt",
        "progress VARCHAR: Step of the preparation",
        "failure_reason VARCHAR: Reason of a failure",
        "error VARCHAR: Error, at most 2000 characters",
    ),
    _view(
        "experiments",
        "One row for each experiment",
        "id VARCHAR: Id of the experiment",
        "user_id VARCHAR: User who created it",
        "name VARCHAR: Its name",
        "status VARCHAR: `active` or `archived`",
        "created_at TIMESTAMP: Time of its creation",
    ),
    _view(
        "usage",
        "One row for each attempt and hour in which it was measured, Jupyter services included",
        *_HOUR,
        *_TASK,
        "attempt INTEGER: Number of the attempt",
        "samples INTEGER: Samples of the hour, one every 10 s",
        "cpu_cores DOUBLE: Cores in use, on average",
        "cpu_cores_max DOUBLE: Most cores in use",
        "memory_mb DOUBLE: Memory in use in MiB, on average",
        "memory_mb_max DOUBLE: Most memory in use in MiB",
        "read_mb_per_second DOUBLE: Read from disks in MiB a second, on average",
        "read_mb_per_second_max DOUBLE: Most read from disks",
        "write_mb_per_second DOUBLE: Written to disks in MiB a second, on average",
        "write_mb_per_second_max DOUBLE: Most written to disks",
    ),
    _view(
        "user_days",
        "One row for each user and day with use or ended tasks: what `fetchml usage` shows",
        "day DATE: Day in the server's time zone",
        "user_id VARCHAR: The user",
        "gpu_hours DOUBLE: Hours of GPUs that were held; a shared one counts in fractions",
        "cpu_hours DOUBLE: Hours of requested cores",
        "completed BIGINT: Tasks that completed",
        "failed BIGINT: Tasks that failed or were cancelled",
    ),
    _view(
        "gpu_hours",
        "One row for each hour, GPU and task that held it, Jupyter services included",
        *_HOUR,
        "gpu_uuid VARCHAR: UUID of the GPU",
        *_TASK,
        "experiment_id VARCHAR: Experiment of the task",
        "gpu_hours DOUBLE: Hours that it held the GPU, at most 1; a shared one counts in fractions",
        "energy_kwh DOUBLE: The task's share of the GPU's energy in kWh; NULL if not measured",
        "utilisation_percent DOUBLE: Utilisation of the GPU in this hour, on average",
    ),
    _view(
        "gpus",
        "One row for each GPU and hour in which it was measured",
        *_HOUR,
        "gpu_uuid VARCHAR: UUID of the GPU",
        "samples INTEGER: Samples of the hour, one every 10 s",
        "held_percent DOUBLE: Share of the samples in which a task held it",
        "utilisation_percent DOUBLE: Utilisation, on average",
        "utilisation_percent_max DOUBLE: Highest utilisation",
        "memory_used_mb DOUBLE: Memory in use in MiB, on average",
        "memory_used_mb_max DOUBLE: Most memory in use in MiB",
        "temperature_c DOUBLE: Temperature in degrees Celsius, on average",
        "temperature_c_max DOUBLE: Highest temperature",
        "power_w DOUBLE: Power in watts, on average",
        "power_w_max DOUBLE: Highest power",
        "energy_kwh DOUBLE: Energy of the measured part of the hour in kWh",
    ),
    _view(
        "runs",
        "One row for each run that was not deleted",
        "id VARCHAR: Id of the run",
        "experiment_id VARCHAR: Experiment that it is in; `0` for none",
        "task_id VARCHAR: Task that made it",
        "user_id VARCHAR: User of the run",
        "name VARCHAR: Its name",
        "status VARCHAR: `running`, `scheduled`, `finished`, `failed` or `killed`",
        "started_at TIMESTAMP: Its start",
        "ended_at TIMESTAMP: Its end",
    ),
    _view(
        "metrics",
        "One row for each metric of the runs in `runs`, with its latest value",
        *_RUN,
        "key VARCHAR: Name of the metric",
        "step BIGINT: Step of the latest value",
        "logged_at TIMESTAMP: Time of the latest value",
        "value DOUBLE: The latest value",
        "points BIGINT: Number of logged values",
    ),
    _view(
        "points",
        "One row for each logged value of the metrics in `metrics`",
        *_RUN,
        "key VARCHAR: Name of the metric",
        "step BIGINT: Step",
        "logged_at TIMESTAMP: Time",
        "value DOUBLE: Value",
    ),
    _view(
        "params",
        "One row for each parameter of the runs in `runs`",
        *_RUN,
        "key VARCHAR: Name of the parameter",
        "value VARCHAR: Its value",
    ),
    _view(
        "tags",
        "One row for each tag of the runs in `runs`",
        *_RUN,
        "key VARCHAR: Name of the tag",
        "value VARCHAR: Its value",
    ),
    _view(
        "audit",
        "For admins: one row for each entry of the audit",
        "id VARCHAR: Id of the entry",
        "happened_at TIMESTAMP: Time",
        "action VARCHAR: Action, such as `task.cancel`",
        "user_id VARCHAR: User; NULL without a valid key",
        "key_id VARCHAR: Id of the key",
        "address VARCHAR: Address of the client",
        "target VARCHAR: Id of what it was done to",
        "outcome VARCHAR: `OK`, or the code of an error",
        "detail VARCHAR: Details",
        admins_only=True,
    ),
)
BY_NAME = {view.name: view for view in VIEWS}


def refusal(who: Principal, view: View) -> str | None:
    """Return why the caller may not read the view; `None` if they may."""
    return permissions.refusal(who, permissions.AdminOnly.AUDIT) if view.admins_only else None
