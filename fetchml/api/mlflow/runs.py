"""Runs over the MLflow protocol."""

import secrets
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from fetchml.api.http.request import RestRequest
from fetchml.api.mlflow.experiments import page
from fetchml.api.mlflow.messages import (
    Json,
    details,
    info_json,
    number_json,
    point_json,
    run_json,
)
from fetchml.api.mlflow.requests import (
    MAX_BULK_POINTS,
    MAX_BULK_RUNS,
    MAX_METRICS,
    MAX_PARAMS,
    CreateRun,
    Details,
    GetHistories,
    GetHistory,
    LogBatch,
    LogInputs,
    LogMetric,
    LogModel,
    LogOutputs,
    LogPair,
    Metric,
    OfRun,
    Pair,
    SearchRuns,
    UpdateRun,
)
from fetchml.core.model import Principal
from fetchml.core.tracking import (
    MAX_HISTORY_PAGE,
    MAX_PARAM_VALUE,
    MAX_RUNS_OF_SEARCH,
    MAX_TAG_VALUE,
    Point,
    RunView,
    Visibility,
)
from fetchml.errors import BadRequest
from fetchml.tracking.filters import parse_filter, parse_order
from fetchml.tracking.live_tasks import LiveTasks
from fetchml.tracking.logged_models import LoggedModels, ModelMetric
from fetchml.tracking.tracking_service import Tracking

RUN_NAME = "mlflow.runName"
MODEL_HISTORY = "mlflow.log-model.history"
_VIEWS = {
    "ACTIVE_ONLY": Visibility.ACTIVE,
    "DELETED_ONLY": Visibility.DELETED,
    "ALL": Visibility.ALL,
}


class RunCalls:
    def __init__(self, tracking: Tracking, models: LoggedModels, tasks: LiveTasks) -> None:
        self._tracking = tracking
        self._models = models
        self._tasks = tasks

    async def create(self, request: RestRequest, asked: CreateRun) -> Json:
        who = request.principal
        tags = _merged(asked.tags)
        name = asked.run_name or tags.get(RUN_NAME) or self._new_name(who)
        tags[RUN_NAME] = name
        run = await self._tracking.create_run(
            who,
            asked.experiment_id,
            name=name,
            tags=tags,
            started_at=asked.start_time,
            task_id=who.task_id,
        )
        return {"run": run_json(RunView(run, (), {}, tags))}

    async def get(self, request: RestRequest, asked: OfRun) -> Json:
        return {"run": run_json(await self._tracking.get_run(request.principal, asked.run))}

    async def update(self, request: RestRequest, asked: UpdateRun) -> Json:
        who, name = request.principal, asked.run_name or None
        run = await self._tracking.update_run(
            who, asked.run, status=asked.status, ended_at=asked.end_time, name=name
        )
        if name is not None:
            await self._tracking.log(who, run.id, tags={RUN_NAME: name})
        return {"run_info": info_json(run)}

    async def delete(self, request: RestRequest, asked: OfRun) -> Json:
        await self._tracking.delete_run(request.principal, asked.run)
        return {}

    async def restore(self, request: RestRequest, asked: OfRun) -> Json:
        await self._tracking.restore_run(request.principal, asked.run)
        return {}

    async def log_metric(self, request: RestRequest, asked: LogMetric) -> Json:
        return await self._log(request.principal, asked.run, [asked])

    async def log_param(self, request: RestRequest, asked: LogPair) -> Json:
        return await self._log(request.principal, asked.run, params=[Pair(asked.key, asked.value)])

    async def log_batch(self, request: RestRequest, asked: LogBatch) -> Json:
        return await self._log(
            request.principal, asked.run, asked.metrics, asked.params, asked.tags
        )

    async def set_tag(self, request: RestRequest, asked: LogPair) -> Json:
        return await self._log(request.principal, asked.run, tags=[Pair(asked.key, asked.value)])

    async def delete_tag(self, request: RestRequest, asked: LogPair) -> Json:
        await self._tracking.delete_tag(request.principal, asked.run, asked.key)
        return {}

    async def search(self, request: RestRequest, asked: SearchRuns) -> Json:
        conditions = parse_filter(asked.filter or "")
        order = parse_order(asked.order_by or ())
        view = _VIEWS.get(asked.run_view_type or "ACTIVE_ONLY")
        if view is None:
            raise BadRequest("run_view_type: must be ACTIVE_ONLY, DELETED_ONLY or ALL")
        if not asked.experiment_ids:
            return {"runs": []}
        if not 1 <= asked.max_results <= MAX_RUNS_OF_SEARCH:
            raise BadRequest(f"max_results: must be 1 to {MAX_RUNS_OF_SEARCH}")
        found = await self._tracking.search(
            request.principal,
            experiment_ids=asked.experiment_ids,
            conditions=conditions,
            order=order,
            limit=asked.max_results,
            page_token=asked.page_token or "",
            visibility=view,
        )
        reply: Json = {"runs": await request.rows(run_json, found.runs)}
        if found.next_page_token:
            reply["next_page_token"] = found.next_page_token
        return reply

    async def history(self, request: RestRequest, asked: GetHistory) -> Json:
        limit, _ = page(asked.max_results, None, MAX_HISTORY_PAGE)
        found = await self._tracking.history(
            request.principal,
            asked.run,
            asked.metric_key,
            limit=limit,
            page_token=asked.page_token or "",
        )
        reply: Json = {"metrics": await request.rows(point_json, found.points)}
        if found.next_page_token:
            reply["next_page_token"] = found.next_page_token
        return reply

    async def histories(self, request: RestRequest, asked: GetHistories) -> Json:
        """Return about `max_results` points of each run: those that even distances in the history
        select, and the last one."""
        if not 1 <= len(asked.run_ids) <= MAX_BULK_RUNS:
            raise BadRequest(f"run_ids: 1 to {MAX_BULK_RUNS} runs")
        if not 1 <= asked.max_results <= MAX_BULK_POINTS:
            raise BadRequest(f"max_results: must be 1 to {MAX_BULK_POINTS}")
        metrics: list[Json] = []
        for run_id in asked.run_ids:
            most = max(2, asked.max_results // len(asked.run_ids))
            sample = await self._sample(request.principal, run_id, asked, most)
            metrics += [{**point_json(each), "run_id": run_id} for each in sample]
        return {"metrics": metrics}

    async def log_inputs(self, request: RestRequest, asked: LogInputs) -> Json:
        def changed(old: Details) -> Details:
            datasets = {(each.dataset.name, each.dataset.digest): each for each in asked.datasets}
            known = {(each.dataset.name, each.dataset.digest) for each in old.dataset_inputs}
            new = [each for key, each in datasets.items() if key not in known]
            models = dict.fromkeys((*old.model_inputs, *asked.models))
            return replace(
                old, dataset_inputs=(*old.dataset_inputs, *new), model_inputs=tuple(models)
            )

        return await self._change_details(request.principal, asked.run, changed)

    async def log_outputs(self, request: RestRequest, asked: LogOutputs) -> Json:
        def changed(old: Details) -> Details:
            return replace(
                old, model_outputs=tuple(dict.fromkeys((*old.model_outputs, *asked.models)))
            )

        return await self._change_details(request.principal, asked.run, changed)

    async def log_model(self, request: RestRequest, asked: LogModel) -> Json:
        """Of clients before 3.0: a tag lists the models of the run, the newest that fit."""
        try:
            model = msgspec.json.decode(asked.model_json)
        except (ValueError, RecursionError):
            raise BadRequest("model_json: must be JSON") from None
        view = await self._tracking.get_run(request.principal, asked.run)
        try:
            known = msgspec.json.decode(view.tags.get(MODEL_HISTORY, "[]"), type=list[object])
        except ValueError:
            known = []
        models = [*known, *([model] if model not in known else [])]
        while models and len(text := msgspec.json.encode(models).decode()) > MAX_TAG_VALUE:
            del models[0]
        if models:
            await self._tracking.log(request.principal, asked.run, tags={MODEL_HISTORY: text})
        return {}

    async def _log(
        self,
        who: Principal,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Pair] = (),
        tags: Sequence[Pair] = (),
    ) -> Json:
        for what, values, most in (
            ("metrics", metrics, MAX_METRICS),
            ("params", params, MAX_PARAMS),
            ("tags", tags, MAX_PARAMS),
        ):
            if len(values) > most:
                raise BadRequest(f"{what}: at most {most} in one request")
        of_models: dict[str, list[ModelMetric]] = {}
        for each in metrics:
            if each.model_id:
                of_models.setdefault(each.model_id, []).append(_of_model(run_id, each))
        for model_id in of_models:
            self._models.to_change(who, model_id)
        new_tags = _merged(tags)
        points = [each.point for each in metrics]
        await self._tracking.log(who, run_id, points, _params(params), new_tags)
        for model_id, measured in of_models.items():
            await self._models.update(who, model_id, metrics=measured)
        if name := new_tags.get(RUN_NAME):
            await self._tracking.update_run(who, run_id, name=name)
        return {}

    async def _change_details(
        self, who: Principal, run_id: str, change: Callable[[Details], Details]
    ) -> Json:
        def changed(old: str) -> str:
            return msgspec.json.encode(change(details(old))).decode()

        await self._tracking.update_run(who, run_id, details=changed)
        return {}

    async def _sample(
        self, who: Principal, run_id: str, asked: GetHistories, most: int
    ) -> list[Point]:
        kept: list[Point] = []
        last: Point | None = None
        number, distance, token = 0, 1, ""
        while True:
            found = await self._tracking.history(who, run_id, asked.metric_key, page_token=token)
            for each in found.points:
                if asked.start_step is not None and each.step < asked.start_step:
                    continue
                if asked.end_step is not None and each.step > asked.end_step:
                    break
                if number % distance == 0:
                    kept.append(each)
                    if len(kept) >= 2 * most:
                        kept, distance = kept[::2], 2 * distance
                number, last = number + 1, each
            token = found.next_page_token
            if not token:
                break
        kept = kept[:: -(-len(kept) // most)] if kept else []
        if last is not None and kept[-1] != last:
            kept.append(last)
        return kept

    def _new_name(self, who: Principal) -> str:
        task = self._tasks.find(who.task_id) if who.task_id is not None else None
        return task.spec.job_name if task is not None else f"run-{secrets.token_hex(3)}"


def _of_model(run_id: str, metric: Metric) -> ModelMetric:
    return ModelMetric(
        run_id,
        metric.key,
        str(number_json(metric.value)),
        metric.timestamp,
        metric.step,
        metric.dataset_name,
        metric.dataset_digest,
    )


def _merged(tags: Iterable[Pair]) -> dict[str, str]:
    """Long values are cut, as MLflow's own server does."""
    return {each.key: each.value[:MAX_TAG_VALUE] for each in tags}


def _params(pairs: Iterable[Pair]) -> dict[str, str]:
    """Long values are cut, as MLflow's own server does. Raises BadRequest if a parameter has two
    values."""
    params: dict[str, str] = {}
    for each in pairs:
        value = each.value[:MAX_PARAM_VALUE]
        if params.setdefault(each.key, value) != value:
            raise BadRequest(f"params: {each.key[:64]!r} has two values")
    return params
