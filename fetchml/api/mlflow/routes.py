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
        files = self._artifacts
        model = f"{_API}/logged-models/{{model_id}}"
        return [
            _Call("GET", f"{_API}/experiments/get", asked.OfExperiment, experiments.get),
            _Call(
                "GET", f"{_API}/experiments/get-by-name", asked.GetByName, experiments.get_by_name
            ),
            _Call("POST", f"{_API}/experiments/create", asked.CreateExperiment, experiments.create),
            _Call("POST", f"{_API}/experiments/search", asked.Search, experiments.search),
            _Call("GET", f"{_API}/experiments/search", asked.Search, experiments.search),
            _Call("POST", f"{_API}/experiments/update", asked.UpdateExperiment, experiments.update),
            _Call("POST", f"{_API}/experiments/delete", asked.OfExperiment, experiments.archive),
            _Call("POST", f"{_API}/experiments/restore", asked.OfExperiment, experiments.restore),
            _Call(
                "POST",
                f"{_API}/experiments/set-experiment-tag",
                asked.ExperimentTag,
                experiments.set_tag,
            ),
            _Call(
                "POST",
                f"{_API}/experiments/delete-experiment-tag",
                asked.ExperimentTag,
                experiments.delete_tag,
            ),
            _Call("POST", f"{_API}/runs/create", asked.CreateRun, runs.create),
            _Call("GET", f"{_API}/runs/get", asked.OfRun, runs.get),
            _Call("POST", f"{_API}/runs/update", asked.UpdateRun, runs.update),
            _Call("POST", f"{_API}/runs/delete", asked.OfRun, runs.delete),
            _Call("POST", f"{_API}/runs/restore", asked.OfRun, runs.restore),
            _Call("POST", f"{_API}/runs/search", asked.SearchRuns, runs.search),
            _Call("POST", f"{_API}/runs/log-metric", asked.LogMetric, runs.log_metric),
            _Call("POST", f"{_API}/runs/log-parameter", asked.LogPair, runs.log_param),
            _Call("POST", f"{_API}/runs/log-batch", asked.LogBatch, runs.log_batch),
            _Call("POST", f"{_API}/runs/set-tag", asked.LogPair, runs.set_tag),
            _Call("POST", f"{_API}/runs/delete-tag", asked.LogPair, runs.delete_tag),
            _Call("POST", f"{_API}/runs/log-inputs", asked.LogInputs, runs.log_inputs),
            _Call("POST", f"{_API}/runs/outputs", asked.LogOutputs, runs.log_outputs),
            _Call("POST", f"{_API}/runs/log-model", asked.LogModel, runs.log_model),
            _Call("GET", f"{_API}/metrics/get-history", asked.GetHistory, runs.history),
            _Call(
                "GET",
                f"{_API}/metrics/get-history-bulk-interval",
                asked.GetHistories,
                runs.histories,
            ),
            _Call("POST", f"{_API}/logged-models", asked.CreateModel, models.create),
            _Call("POST", f"{_API}/logged-models/search", asked.SearchModels, models.search),
            _Call("GET", model, asked.Nothing, models.get),
            _Call("PATCH", model, asked.FinalizeModel, models.finalize),
            _Call("DELETE", model, asked.Nothing, models.delete),
            _Call("PATCH", f"{model}/tags", asked.ModelTags, models.set_tags),
            _Call("DELETE", f"{model}/tags/{{key...}}", asked.Nothing, models.delete_tag),
            _Call("POST", f"{model}/params", asked.ModelParams, models.log_params),
            _Call(
                "GET",
                f"{model}/artifacts/directories",
                asked.ListModelFolder,
                files.list_of_model,
            ),
            _Call("GET", f"{_API}/artifacts/list", asked.ListArtifacts, files.list_of_run),
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
