"""The fields that REST and gRPC show of sweeps."""

from fetchml.api.mapping import Field, LongRows, Mapping, Nested, Rows
from fetchml.api.status_counts import status_fields
from fetchml.engine.sweeps import SweepChange, SweepPage, SweepResult, SweepResults, SweepView
from fetchml.v1 import sweep_pb2

_COUNTS: Mapping[SweepView, sweep_pb2.Sweep.Counts] = Mapping(
    sweep_pb2.Sweep.Counts, *status_fields()
)

SWEEP: Mapping[SweepView, sweep_pb2.Sweep] = Mapping(
    sweep_pb2.Sweep,
    Field("user_id", "sweep.user"),
    Nested("counts", _COUNTS, lambda view: view),
    of="sweep",
    without=("tasks",),
)

SWEEPS: Mapping[SweepPage, sweep_pb2.ListSweepsResponse] = Mapping(
    sweep_pb2.ListSweepsResponse, LongRows("sweeps", SWEEP)
)

CANCELLED: Mapping[SweepChange, sweep_pb2.CancelSweepResponse] = Mapping(
    sweep_pb2.CancelSweepResponse, Nested("sweep", SWEEP)
)

RETRIED: Mapping[SweepChange, sweep_pb2.RetrySweepResponse] = Mapping(
    sweep_pb2.RetrySweepResponse, Nested("sweep", SWEEP)
)

_RESULT: Mapping[SweepResult, sweep_pb2.ListBestTasksResponse.Result] = Mapping(
    sweep_pb2.ListBestTasksResponse.Result,
    Field("task_id", "task.id"),
    Field("sweep_index", "task.spec.sweep.index"),
    Field("parameters", "task.spec.sweep.parameters"),
    Field("value"),
    Field("metrics"),
    of="task",
)

BEST: Mapping[SweepResults, sweep_pb2.ListBestTasksResponse] = Mapping(
    sweep_pb2.ListBestTasksResponse,
    Rows("results", _RESULT, keep_empty=True),
)
