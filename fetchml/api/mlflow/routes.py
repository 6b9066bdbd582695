"""The MLflow tracking protocol under `/mlflow`: its paths, and how requests are read.

Unchanged clients log here with `MLFLOW_TRACKING_URI=http://HOST:PORT/mlflow`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web

from fetchml.api.http.body import decoded, read_json
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import SessionCredentials
from fetchml.api.http.streams import Streams
from fetchml.api.mlflow import requests as asked
from fetchml.api.mlflow.artifacts import ArtifactCalls
from fetchml.api.mlflow.callers import MlflowCredentials
from fetchml.api.mlflow.errors import MLFLOW, EndpointNotFound
from fetchml.api.mlflow.experiments import ExperimentCalls
from fetchml.api.mlflow.models import ModelCalls
from fetchml.api.mlflow.runs import RunCalls
from fetchml.api.services import ApiServices
from fetchml.errors import BadRequest

PREFIX = "/mlflow"
_API = f"{PREFIX}/api/2.0/mlflow"
_FILES = f"{PREFIX}/api/2.0/mlflow-artifacts"
_PAGE = "/ui/"
_LISTS = ("run_ids", "order_by", "experiment_ids")
"""Parameters of a query that may be repeated."""


class _Call(NamedTuple):
    method: str
    path: str
    form: type[msgspec.Struct]
    """Type of the request."""
    answer: Callable[..., Awaitable[object]]
    """A function of the request, what it asks, and the parameters of the path."""


class MlflowOperations:
    def __init__(
        self,
        api: ApiServices,
        sessions: SessionCredentials,
        streams: Streams,
        *,
        body_timeout_seconds: float,
        send_timeout_seconds: float,
    ) -> None:
        self._body_timeout_seconds = body_timeout_seconds
        self._credentials = MlflowCredentials(api.admission, sessions, api.live_tasks)
        self._experiments = ExperimentCalls(api.experiments, api.live_tasks)
        self._runs = RunCalls(api.tracking, api.models, api.live_tasks)
        self._models = ModelCalls(api.models, self._experiments)
        self._artifacts = ArtifactCalls(
            api.tracking,
            api.models,
            api.artifacts,
            streams,
            body_timeout_seconds=body_timeout_seconds,
            send_timeout_seconds=send_timeout_seconds,
        )

    def routes(self) -> list[Route]:
        files, admit = self._artifacts, self._credentials.admit
        calls = [
            Route(each.method, each.path, self._handler(each), admit=admit, errors=MLFLOW)
            for each in self._calls()
        ]
        streamed = [
            Route(method, path, handler, admit=admit, errors=MLFLOW)
            for method, path, handler in (
                ("PUT", f"{_FILES}/artifacts/{{path...}}", files.upload),
                ("GET", f"{_FILES}/artifacts/{{path...}}", files.download),
                ("POST", f"{_FILES}/mpu/{{path...}}", files.no_parts),
                ("GET", f"{_FILES}/presigned/{{path...}}", files.no_parts),
                ("*", f"{PREFIX}/{{path...}}", _unknown),
            )
        ]
        page = [Route("GET", path, _page, keyless=True) for path in (PREFIX, f"{PREFIX}/")]
        return [*calls, *streamed, *page]

    def _calls(self) -> list[_Call]:
        runs, experiments, models = self._runs, self._experiments, self._models
        files, model = self._artifacts, "logged-models/{model_id}"
        calls: list[tuple[str, str, type[msgspec.Struct], Callable[..., Awaitable[object]]]] = [
            ("GET", "experiments/get", asked.OfExperiment, experiments.get),
            ("GET", "experiments/get-by-name", asked.GetByName, experiments.get_by_name),
            ("POST", "experiments/create", asked.CreateExperiment, experiments.create),
            ("POST", "experiments/search", asked.Search, experiments.search),
            ("GET", "experiments/search", asked.Search, experiments.search),
            ("POST", "experiments/update", asked.UpdateExperiment, experiments.update),
            ("POST", "experiments/delete", asked.OfExperiment, experiments.archive),
            ("POST", "experiments/restore", asked.OfExperiment, experiments.restore),
            ("POST", "experiments/set-experiment-tag", asked.ExperimentTag, experiments.set_tag),
            ("POST", "experiments/delete-experiment-tag", asked.ExperimentTag,
             experiments.delete_tag),
            ("POST", "runs/create", asked.CreateRun, runs.create),
            ("GET", "runs/get", asked.OfRun, runs.get),
            ("POST", "runs/update", asked.UpdateRun, runs.update),
            ("POST", "runs/delete", asked.OfRun, runs.delete),
            ("POST", "runs/restore", asked.OfRun, runs.restore),
            ("POST", "runs/search", asked.SearchRuns, runs.search),
            ("POST", "runs/log-metric", asked.LogMetric, runs.log_metric),
            ("POST", "runs/log-parameter", asked.LogPair, runs.log_param),
            ("POST", "runs/log-batch", asked.LogBatch, runs.log_batch),
            ("POST", "runs/set-tag", asked.LogPair, runs.set_tag),
            ("POST", "runs/delete-tag", asked.LogPair, runs.delete_tag),
            ("POST", "runs/log-inputs", asked.LogInputs, runs.log_inputs),
            ("POST", "runs/outputs", asked.LogOutputs, runs.log_outputs),
            ("POST", "runs/log-model", asked.LogModel, runs.log_model),
            ("GET", "metrics/get-history", asked.GetHistory, runs.history),
            ("GET", "metrics/get-history-bulk-interval", asked.GetHistories, runs.histories),
            ("POST", "logged-models", asked.CreateModel, models.create),
            ("POST", "logged-models/search", asked.SearchModels, models.search),
            ("GET", model, asked.Nothing, models.get),
            ("PATCH", model, asked.FinalizeModel, models.finalize),
            ("DELETE", model, asked.Nothing, models.delete),
            ("PATCH", f"{model}/tags", asked.ModelTags, models.set_tags),
            ("DELETE", f"{model}/tags/{{key...}}", asked.Nothing, models.delete_tag),
            ("POST", f"{model}/params", asked.ModelParams, models.log_params),
            ("GET", "artifacts/list", asked.ListArtifacts, files.list_of_run),
        ]  # fmt: skip
        return [
            *(
                _Call(method, f"{_API}/{path}", form, answer)
                for method, path, form, answer in calls
            ),
            _Call("GET", f"{_FILES}/artifacts", asked.ListFolder, files.list),
            _Call("DELETE", f"{_FILES}/artifacts/{{path...}}", asked.Nothing, files.delete),
        ]

    def _handler(self, call: _Call) -> Callable[..., Awaitable[web.StreamResponse]]:
        decode = msgspec.json.Decoder(call.form, strict=False).decode

        async def handle(request: RestRequest, *parameters: str) -> web.StreamResponse:
            try:
                wanted = (
                    decoded(await read_json(request, self._body_timeout_seconds), decode)
                    if call.method in (hdrs.METH_POST, hdrs.METH_PATCH)
                    else _from_query(request.http, call.form)
                )
            except msgspec.ValidationError as error:
                raise BadRequest(str(error)) from None
            return request.json(await call.answer(request, wanted, *parameters))

        return handle


def _from_query(http: web.BaseRequest, form: type[msgspec.Struct]) -> Any:
    """Raises msgspec.ValidationError."""
    query = http.query
    values: dict[str, object] = {
        name: query.getall(name) if name in _LISTS else query[name] for name in query
    }
    return msgspec.convert(values, form, strict=False)


async def _unknown(request: RestRequest, path: str) -> web.StreamResponse:
    raise EndpointNotFound(
        f"FetchML does not have {path[:200]!r} of the MLflow protocol: docs/tracking.md lists what "
        "it has"
    )


async def _page(request: RestRequest) -> web.StreamResponse:
    """Lead to the page: clients print links such as `URI/#/experiments/…`, and browsers keep what
    follows the #."""
    return web.Response(status=302, headers=request.headers({"Location": _PAGE}))
