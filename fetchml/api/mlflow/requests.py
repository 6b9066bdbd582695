"""The requests of the MLflow protocol, as its clients send them. Numbers may be sent as text, and
unknown fields are ignored. Older clients send `run_uuid`, which `run_id` replaced."""

import msgspec

from fetchml.core.tracking import (
    DEFAULT_EXPERIMENT,
    Point,
    RunStatus,
)
from fetchml.errors import BadRequest
from fetchml.tracking.logged_models import ModelStatus

MAX_METRICS = 1_000
MAX_PARAMS = 100
MAX_BULK_RUNS = 100
MAX_BULK_POINTS = 2_500


class Pair(msgspec.Struct, frozen=True):
    """A parameter or a tag."""

    key: str
    value: str = ""


class Metric(msgspec.Struct, frozen=True):
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None

    @property
    def point(self) -> Point:
        return Point(self.key, self.value, self.timestamp, self.step)


class OfRun(msgspec.Struct, frozen=True):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The run's id. Raises BadRequest if there is none."""
        if not (self.run_id or self.run_uuid):
            raise BadRequest("run_id: is required")
        return self.run_id or self.run_uuid


class OfExperiment(msgspec.Struct, frozen=True):
    experiment_id: str


class GetByName(msgspec.Struct, frozen=True):
    experiment_name: str


class CreateExperiment(msgspec.Struct, frozen=True):
    name: str
    tags: list[Pair] = []


class UpdateExperiment(OfExperiment, frozen=True):
    new_name: str | None = None


class ExperimentTag(OfExperiment, frozen=True):
    key: str
    value: str = ""


class Search(msgspec.Struct, frozen=True):
    """Of experiments."""

    max_results: int | None = None
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    view_type: str | None = None


class CreateRun(msgspec.Struct, frozen=True):
    experiment_id: str = DEFAULT_EXPERIMENT
    run_name: str | None = None
    start_time: int | None = None
    tags: list[Pair] = []


class UpdateRun(OfRun, frozen=True):
    status: RunStatus | None = None
    end_time: int | None = None
    run_name: str | None = None


class LogMetric(Metric, frozen=True, kw_only=True):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        return OfRun(self.run_id, self.run_uuid).run


class LogPair(OfRun, frozen=True, kw_only=True):
    """One parameter or tag."""

    key: str
    value: str = ""


class LogBatch(OfRun, frozen=True):
    metrics: list[Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct, frozen=True, omit_defaults=True):
    dataset: Dataset
    tags: list[Pair] = []


class ModelInput(msgspec.Struct, frozen=True):
    model_id: str


class ModelOutput(msgspec.Struct, frozen=True):
    model_id: str
    step: int = 0


class LogInputs(OfRun, frozen=True):
    datasets: list[DatasetInput] = []
    models: list[ModelInput] = []


class LogOutputs(OfRun, frozen=True):
    models: list[ModelOutput] = []


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """`Run.details`."""

    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[ModelInput, ...] = ()
    model_outputs: tuple[ModelOutput, ...] = ()


class LogModel(OfRun, frozen=True):
    model_json: str = ""


class SearchRuns(msgspec.Struct, frozen=True):
    experiment_ids: list[str] | None = None
    filter: str | None = None
    run_view_type: str | None = None
    max_results: int = 1_000
    order_by: list[str] | None = None
    page_token: str | None = None


class GetHistory(OfRun, frozen=True, kw_only=True):
    metric_key: str
    page_token: str | None = None
    max_results: int | None = None


class GetHistories(msgspec.Struct, frozen=True):
    """The parameter `run_ids` may be repeated."""

    run_ids: list[str]
    metric_key: str
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = MAX_BULK_POINTS


class CreateModel(OfExperiment, frozen=True):
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Pair] = []
    tags: list[Pair] = []


class FinalizeModel(msgspec.Struct, frozen=True):
    status: ModelStatus


class ModelTags(msgspec.Struct, frozen=True):
    tags: list[Pair] = []


class ModelParams(msgspec.Struct, frozen=True):
    params: list[Pair] = []


class ModelOrder(msgspec.Struct, frozen=True):
    field_name: str
    ascending: bool = True


class SearchModels(msgspec.Struct, frozen=True):
    experiment_ids: list[str] = []
    filter: str | None = None
    max_results: int | None = None
    order_by: list[ModelOrder] | None = None
    page_token: str | None = None


class ListArtifacts(OfRun, frozen=True):
    path: str = ""


class ListFolder(msgspec.Struct, frozen=True):
    path: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """The body is not used."""
