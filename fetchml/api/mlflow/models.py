"""Logged models over the MLflow protocol."""

from fetchml.api.http.request import RestRequest
from fetchml.api.mlflow.experiments import ExperimentCalls, page
from fetchml.api.mlflow.messages import Json, model_json
from fetchml.api.mlflow.requests import (
    CreateModel,
    FinalizeModel,
    ModelOrder,
    ModelParams,
    ModelTags,
    Nothing,
    SearchModels,
)
from fetchml.errors import BadRequest, NotFound
from fetchml.tracking.filters import parse_filter, parse_order
from fetchml.tracking.logged_models import ATTRIBUTES, LoggedModels

MAX_RESULTS = 1_000


class ModelCalls:
    def __init__(self, models: LoggedModels, experiments: ExperimentCalls) -> None:
        self._models = models
        self._experiments = experiments

    async def create(self, request: RestRequest, asked: CreateModel) -> Json:
        self._experiments.find(request.principal, asked.experiment_id)
        model = await self._models.create(
            request.principal,
            asked.experiment_id,
            name=asked.name or "",
            type=asked.model_type,
            source_run_id=asked.source_run_id,
            params={each.key: each.value for each in asked.params},
            tags={each.key: each.value for each in asked.tags},
        )
        return {"model": model_json(model)}

    async def get(self, request: RestRequest, asked: Nothing, model_id: str) -> Json:
        return {"model": model_json(self._models.get(request.principal, model_id))}

    async def finalize(self, request: RestRequest, asked: FinalizeModel, model_id: str) -> Json:
        model = await self._models.update(request.principal, model_id, status=asked.status)
        return {"model": model_json(model)}

    async def delete(self, request: RestRequest, asked: Nothing, model_id: str) -> Json:
        await self._models.delete(request.principal, model_id)
        return {}

    async def set_tags(self, request: RestRequest, asked: ModelTags, model_id: str) -> Json:
        tags = {each.key: each.value for each in asked.tags}
        await self._models.update(request.principal, model_id, tags=tags)
        return {}

    async def delete_tag(
        self, request: RestRequest, asked: Nothing, model_id: str, key: str
    ) -> Json:
        if key not in self._models.get(request.principal, model_id).tags:
            raise NotFound(f"Logged model {model_id[:64]!r} has no tag {key[:64]!r}")
        await self._models.update(request.principal, model_id, tags={key: None})
        return {}

    async def log_params(self, request: RestRequest, asked: ModelParams, model_id: str) -> Json:
        params = {each.key: each.value for each in asked.params}
        await self._models.update(request.principal, model_id, params=params)
        return {}

    async def search(self, request: RestRequest, asked: SearchModels) -> Json:
        found = await self._models.search(
            request.principal,
            asked.experiment_ids,
            parse_filter(asked.filter or "", ATTRIBUTES),
            parse_order([_order(each) for each in asked.order_by or ()], ATTRIBUTES),
        )
        limit, first = page(asked.max_results, asked.page_token, MAX_RESULTS)
        reply: Json = {"models": await request.rows(model_json, found[first : first + limit])}
        if first + limit < len(found):
            reply["next_page_token"] = str(first + limit)
        return reply


def _order(asked: ModelOrder) -> str:
    """Raises BadRequest."""
    prefix, dot, name = asked.field_name.partition(".")
    if "`" in name:
        raise BadRequest("order_by: a name must not hold a backtick")
    field = f"{prefix}.`{name}`" if dot else prefix
    return f"{field} {'ASC' if asked.ascending else 'DESC'}"
