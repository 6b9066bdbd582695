"""The fields that REST and gRPC show of sweeps."""

from collections.abc import Callable

from fetchml.api.mapping import Field, Mapping, Nested, Rows, Time
from fetchml.core.model import Status
from fetchml.engine.sweeps.views import SweepChange, SweepResult, SweepResults, SweepView
from fetchml.v1 import sweep_pb2


def _count(status: Status) -> Callable[[SweepView], int]:
    return lambda view: view.counts.get(status, 0)


_COUNTS: Mapping[SweepView, sweep_pb2.Sweep.Counts] = Mapping(
    sweep_pb2.Sweep.Counts,
    *(Field(status.value, _count(status)) for status in Status),
    Field("deleted"),
)

SWEEP: Mapping[SweepView, sweep_pb2.Sweep] = Mapping(
    sweep_pb2.Sweep,
    Field("id", "sweep.id"),
    Field("name", "sweep.name"),
    Field("user_id", "sweep.user"),
    Time("created_at", "sweep.created_at"),
    Field("total", "sweep.total"),
    Nested("counts", _COUNTS, lambda view: view),
    Field("job_name", "sweep.job_name"),
    Field("mode", "sweep.mode"),
    Field("parameters", "sweep.parameters"),
    Field("samples", "sweep.samples"),
    Field("random_seed", "sweep.random_seed"),
    Field("max_parallel", "sweep.max_parallel"),
)

CANCELLED: Mapping[SweepChange, sweep_pb2.CancelSweepResponse] = Mapping(
    sweep_pb2.CancelSweepResponse, Nested("sweep", SWEEP), Field("tasks")
)

RETRIED: Mapping[SweepChange, sweep_pb2.RetrySweepResponse] = Mapping(
    sweep_pb2.RetrySweepResponse, Nested("sweep", SWEEP), Field("tasks")
)

_RESULT: Mapping[SweepResult, sweep_pb2.ListBestTasksResponse.Result] = Mapping(
    sweep_pb2.ListBestTasksResponse.Result,
    Field("task_id", "task.id"),
    Field("sweep_index", "task.spec.sweep.index"),
    Field("parameters", "task.spec.sweep.parameters"),
    Field("value"),
    Field("metrics"),
    Time("started_at", "task.started_at"),
    Time("ended_at", "task.ended_at"),
)

BEST: Mapping[SweepResults, sweep_pb2.ListBestTasksResponse] = Mapping(
    sweep_pb2.ListBestTasksResponse,
    Rows("results", _RESULT, keep_empty=True),
    Field("total"),
    Field("metric_names"),
)
