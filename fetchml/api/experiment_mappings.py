"""The fields that REST and gRPC show of experiments."""

from fetchml.api.mapping import Field, LongRows, Mapping, Nested
from fetchml.api.status_counts import status_fields
from fetchml.engine.experiments import ExperimentView
from fetchml.v1 import experiment_pb2
from fetchml.views import ExperimentResult, ExperimentResults

_COUNTS: Mapping[ExperimentView, experiment_pb2.Experiment.Counts] = Mapping(
    experiment_pb2.Experiment.Counts, *status_fields()
)

EXPERIMENT: Mapping[ExperimentView, experiment_pb2.Experiment] = Mapping(
    experiment_pb2.Experiment,
    Field("user_id", "experiment.user", full=True),
    Nested("counts", _COUNTS, lambda view: view, full=True),
    of="experiment",
    full=("description",),
)

RESULT: Mapping[ExperimentResult, experiment_pb2.ExperimentResult] = Mapping(
    experiment_pb2.ExperimentResult,
    Field("task_id", "task.id"),
    Field("job_name", "task.spec.job_name"),
    Field("status", "task.shown_status"),
    Field("command", "task.spec.command"),
    Field("args", "task.spec.args"),
    Field("metadata", "task.spec.metadata", keep_empty=False),
    Field("metrics", keep_empty=False),
    Field("snapshot_id", "task.spec.snapshot_id"),
    Field("user_id", "task.user"),
    of="task",
)

RESULTS: Mapping[ExperimentResults, experiment_pb2.ListExperimentResultsResponse] = Mapping(
    experiment_pb2.ListExperimentResultsResponse, LongRows("results", RESULT)
)
