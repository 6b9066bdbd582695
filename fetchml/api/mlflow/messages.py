"""The replies of the MLflow protocol: JSON of runs, experiments and logged models."""

import math
from collections.abc import Iterable, Mapping

import msgspec

from fetchml.api.mlflow.requests import Details
from fetchml.core.requests.experiment import Experiment, ExperimentStatus
from fetchml.core.tracking import DEFAULT_EXPERIMENT, Point, Run, RunView
from fetchml.tracking.artifacts import Entry
from fetchml.tracking.logged_models import LoggedModel, ModelMetric

Json = dict[str, object]

DEFAULT_NAME = "Default"
_DEFAULT = Experiment(DEFAULT_EXPERIMENT, "", DEFAULT_NAME, 0)
NO_DETAILS = Details()
_decode_details = msgspec.json.Decoder(Details).decode


def experiment_json(found: Experiment) -> Json:
    return {
        "experiment_id": found.id,
        "name": found.name,
        "artifact_location": f"mlflow-artifacts:/{found.id}",
        "lifecycle_stage": "active" if found.status is ExperimentStatus.ACTIVE else "deleted",
        "creation_time": found.created_at,
        "last_update_time": found.created_at,
        "tags": pairs_json(found.tags),
    }


def default_experiment() -> Experiment:
    """Return the experiment of runs that name none. It is not stored, and nobody owns it."""
    return _DEFAULT


def run_json(view: RunView) -> Json:
    found = details(view.run.details)
    return {
        "info": info_json(view.run),
        "data": {
            "metrics": [point_json(each) for each in view.metrics],
            "params": pairs_json(view.params),
            "tags": pairs_json(view.tags),
        },
        "inputs": {"dataset_inputs": found.dataset_inputs, "model_inputs": found.model_inputs},
        "outputs": {"model_outputs": found.model_outputs},
    }


def info_json(run: Run) -> Json:
    info: Json = {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": run.experiment_id,
        "user_id": run.user,
        "status": run.status,
        "start_time": run.started_at,
        "artifact_uri": run_uri(run),
        "lifecycle_stage": "active" if run.deleted_at is None else "deleted",
    }
    if run.ended_at is not None:
        info["end_time"] = run.ended_at
    return info


def run_uri(run: Run) -> str:
    return f"mlflow-artifacts:/{run.experiment_id}/{run.id}/artifacts"


def model_uri(model: LoggedModel) -> str:
    return f"mlflow-artifacts:/{model.experiment_id}/models/{model.id}/artifacts"


def model_json(model: LoggedModel) -> Json:
    info: Json = {
        "model_id": model.id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.created_at,
        "last_updated_timestamp_ms": model.updated_at,
        "artifact_uri": model_uri(model),
        "status": model.status,
        "tags": pairs_json(model.tags),
    }
    optional = {"model_type": model.type, "source_run_id": model.source_run_id}
    info |= {name: value for name, value in optional.items() if value is not None}
    metrics = [_model_metric_json(each, model.id) for each in model.metrics]
    return {"info": info, "data": {"params": pairs_json(model.params), "metrics": metrics}}


def _model_metric_json(metric: ModelMetric, model_id: str) -> Json:
    return {
        **point_json(Point(metric.key, metric.value, metric.at, metric.step)),
        "run_id": metric.run_id,
        "model_id": model_id,
        "dataset_name": metric.dataset_name,
        "dataset_digest": metric.dataset_digest,
    }


def point_json(point: Point) -> Json:
    return {
        "key": point.key,
        "value": number_json(point.value),
        "timestamp": point.at,
        "step": point.step,
    }


def number_json(value: float) -> float | str:
    """JSON has no infinite numbers and no NaN."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pairs_json(values: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in values.items()]


def entries_json(entries: Iterable[Entry], inside: str = "") -> list[Json]:
    """`inside`: put before each name."""
    return [
        {"path": f"{inside}{name}", "is_dir": True}
        if size is None
        else {"path": f"{inside}{name}", "is_dir": False, "file_size": size}
        for name, size in entries
    ]


def details(text: str) -> Details:
    """Return inputs and outputs of a run."""
    return _decode_details(text) if text else NO_DETAILS
