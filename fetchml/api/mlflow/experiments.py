"""Experiments over the MLflow protocol: FetchML's own. To delete one there archives it here."""

from fetchml.api.http.request import RestRequest
from fetchml.api.mlflow.errors import AlreadyExists
from fetchml.api.mlflow.messages import (
    DEFAULT_NAME,
    Json,
    default_experiment,
    experiment_json,
)
from fetchml.api.mlflow.requests import (
    CreateExperiment,
    ExperimentTag,
    GetByName,
    OfExperiment,
    Search,
    UpdateExperiment,
)
from fetchml.core.model import Principal
from fetchml.core.requests.experiment import Experiment, ExperimentStatus
from fetchml.core.tracking import DEFAULT_EXPERIMENT
from fetchml.core.tracking_filters import Field, Source
from fetchml.engine.experiments import Experiments
from fetchml.errors import BadRequest, Forbidden, NotFound
from fetchml.tracking.filters import Attributes, parse_filter, parse_order
from fetchml.tracking.live_tasks import LiveTasks
from fetchml.tracking.matching import search

MAX_RESULTS = 1_000
_ATTRIBUTES = Attributes(
    {
        "name": "name",
        "experiment_id": "id",
        "creation_time": "created_at",
        "last_update_time": "created_at",
    },
    frozenset({"created_at"}),
)


class ExperimentCalls:
    def __init__(self, experiments: Experiments, tasks: LiveTasks) -> None:
        self._experiments = experiments
        self._tasks = tasks

    async def get(self, request: RestRequest, asked: OfExperiment) -> Json:
        found = self.find(request.principal, asked.experiment_id)
        return {"experiment": experiment_json(found)}

    async def get_by_name(self, request: RestRequest, asked: GetByName) -> Json:
        found = self._named(request.principal, asked.experiment_name)
        if found is None:
            raise NotFound(f"Experiment {asked.experiment_name[:200]!r} not found")
        return {"experiment": experiment_json(found)}

    async def create(self, request: RestRequest, asked: CreateExperiment) -> Json:
        who = request.principal
        if self._named(who, asked.name) is not None:
            raise AlreadyExists(f"Experiment {asked.name[:200]!r} already exists")
        made = await self._experiments.create(who, {"name": asked.name})
        if asked.tags:
            tags = {each.key: each.value for each in asked.tags}
            await self._experiments.update(who, made.id, tags=tags)
        return {"experiment_id": made.id}

    async def search(self, request: RestRequest, asked: Search) -> Json:
        conditions = parse_filter(asked.filter or "", _ATTRIBUTES)
        order = parse_order(asked.order_by or (), _ATTRIBUTES)
        view = asked.view_type or "ACTIVE_ONLY"
        if view not in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
            raise BadRequest("view_type: must be ACTIVE_ONLY, DELETED_ONLY or ALL")
        seen = [
            each
            for each in (*self._experiments.list(request.principal), default_experiment())
            if view == "ALL" or (view == "ACTIVE_ONLY") is (each.status is ExperimentStatus.ACTIVE)
        ]
        found = await search(seen, conditions, order, _value_of)
        limit, first = page(asked.max_results, asked.page_token, MAX_RESULTS)
        shown = await request.rows(experiment_json, found[first : first + limit])
        reply: Json = {"experiments": shown}
        if first + limit < len(found):
            reply["next_page_token"] = str(first + limit)
        return reply

    async def update(self, request: RestRequest, asked: UpdateExperiment) -> Json:
        _require_own(asked.experiment_id)
        if asked.new_name is None:
            raise BadRequest("new_name: is required")
        who = request.principal
        named = self._named(who, asked.new_name)
        if named is not None and named.id != asked.experiment_id:
            raise AlreadyExists(f"Experiment {asked.new_name[:200]!r} already exists")
        await self._experiments.update(who, asked.experiment_id, name=asked.new_name)
        return {}

    async def set_tag(self, request: RestRequest, asked: ExperimentTag) -> Json:
        _require_own(asked.experiment_id)
        tags = {asked.key: asked.value}
        await self._experiments.update(request.principal, asked.experiment_id, tags=tags)
        return {}

    async def delete_tag(self, request: RestRequest, asked: ExperimentTag) -> Json:
        found = self.find(request.principal, asked.experiment_id)
        if asked.key not in found.tags:
            raise NotFound(f"Experiment {found.id} has no tag {asked.key[:64]!r}")
        await self._experiments.update(request.principal, found.id, tags={asked.key: None})
        return {}

    async def archive(self, request: RestRequest, asked: OfExperiment) -> Json:
        _require_own(asked.experiment_id)
        await self._experiments.archive(request.principal, asked.experiment_id)
        return {}

    async def restore(self, request: RestRequest, asked: OfExperiment) -> Json:
        _require_own(asked.experiment_id)
        await self._experiments.update(request.principal, asked.experiment_id, active=True)
        return {}

    def find(self, who: Principal, experiment_id: str) -> Experiment:
        """Raises NotFound."""
        if experiment_id == DEFAULT_EXPERIMENT:
            return default_experiment()
        return self._experiments.get(who, experiment_id)

    def _named(self, who: Principal, name: str) -> Experiment | None:
        if name == DEFAULT_NAME:
            return default_experiment()
        task = self._tasks.find(who.task_id) if who.task_id is not None else None
        if task is not None and task.spec.experiment_id is not None:
            # Several experiments may have this name: a task means its own.
            try:
                own = self._experiments.get(who, task.spec.experiment_id)
            except NotFound:
                own = None
            if own is not None and own.name == name:
                return own
        return self._experiments.named(who, name)


def _require_own(experiment_id: str) -> None:
    if experiment_id == DEFAULT_EXPERIMENT:
        raise Forbidden("The default experiment can't be changed")


def page(max_results: int | None, page_token: str | None, most: int) -> tuple[int, int]:
    """Return the size of a page, `most` by default and at most, and its first place. Raises
    BadRequest."""
    limit, token = most if max_results is None else max_results, page_token or "0"
    if not 1 <= limit <= 50_000:
        raise BadRequest("max_results: must be 1 to 50000")
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise BadRequest("page_token: must be the token of the previous page")
    return min(limit, most), int(token)


def _value_of(found: Experiment, asked: Field) -> str | float | None:
    if asked.source is Source.TAG:
        return found.tags.get(asked.name)
    if asked.source is not Source.ATTRIBUTE:
        raise BadRequest("filter, order_by: experiments have attributes and tags only")
    value: str | float | None = getattr(found, asked.name)
    return value
