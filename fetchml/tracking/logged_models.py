"""Logged models (MLflow 3): records of models that a training saved, beside their files.

All are in memory, and each is a document in the store.
"""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import field
from msgspec.structs import replace

from fetchml.core import permissions
from fetchml.core.model import Principal, Value
from fetchml.core.requests.checks import text_fault
from fetchml.core.tracking import (
    MAX_PARAM_VALUE,
    MAX_RUN_NAME,
    MAX_TAG_VALUE,
    values_fault,
)
from fetchml.core.tracking_filters import Conditions, Field, Order, Source
from fetchml.errors import BadRequest, Forbidden, NotFound
from fetchml.records import Documents, RecordSet
from fetchml.tracking.artifacts import Holder
from fetchml.tracking.filters import Attributes
from fetchml.tracking.matching import search

KIND = "logged_model"
MAX_MODELS = 20_000
MAX_OF_ONE_USER = 10_000
MAX_CHARACTERS = 64_000
"""Of the parameters, tags and metrics of a model."""
MAX_CHARACTERS_OF_ONE_USER = 64 << 20
MAX_METRICS = 200

ATTRIBUTES = Attributes(
    {
        "name": "name",
        "model_id": "id",
        "model_type": "type",
        "status": "status",
        "source_run_id": "source_run_id",
        "creation_timestamp": "created_at",
        "creation_time": "created_at",
        "last_updated_timestamp": "updated_at",
        "last_updated_time": "updated_at",
    },
    frozenset({"created_at", "updated_at"}),
)


class ModelStatus(StrEnum):
    """States of a logged model. The training reports them."""

    UNSPECIFIED = "LOGGED_MODEL_STATUS_UNSPECIFIED"
    PENDING = "LOGGED_MODEL_PENDING"
    READY = "LOGGED_MODEL_READY"
    UPLOAD_FAILED = "LOGGED_MODEL_UPLOAD_FAILED"


class ModelMetric(Value, frozen=True):
    """The latest value of a metric that a run measured for a model on a dataset."""

    run_id: str
    key: str
    number: str
    """The value as text: JSON has no infinite numbers and no NaN."""
    at: int
    step: int
    dataset_name: str | None = None
    dataset_digest: str | None = None

    @property
    def value(self) -> float:
        return float(self.number)

    @property
    def identity(self) -> tuple[object, ...]:
        return self.run_id, self.key, self.dataset_name, self.dataset_digest


class LoggedModel(Value, frozen=True):
    """Stored as JSON; a field added later must have a default."""

    id: str
    experiment_id: str
    user: str
    name: str
    created_at: int
    updated_at: int
    status: ModelStatus = ModelStatus.PENDING
    type: str | None = None
    source_run_id: str | None = None
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    metrics: tuple[ModelMetric, ...] = ()

    @property
    def characters(self) -> int:
        texts = (*self.params.items(), *self.tags.items())
        return sum(len(key) + len(value) for key, value in texts) + sum(
            len(each.key) + len(each.dataset_name or "") + len(each.dataset_digest or "")
            for each in self.metrics
        )


class LoggedModels:
    """Used from one event loop. What a verb changes is durable on return."""

    def __init__(
        self,
        records: RecordSet[LoggedModel],
        remove_files: Callable[[Holder], Awaitable[None]],
        *,
        clock: Callable[[], int],
        private: bool,
    ) -> None:
        """See `load`."""
        self._records = records
        self._models = Counter(each.user for each in records)
        """Number by user."""
        self._characters = Counter[str]()
        """By user."""
        for each in records:
            self._characters[each.user] += each.characters
        self._remove_files = remove_files
        self._clock = clock
        self._private = private

    @classmethod
    async def load(
        cls,
        store: Documents,
        remove_files: Callable[[Holder], Awaitable[None]],
        *,
        clock: Callable[[], int],
        private: bool,
    ) -> "LoggedModels":
        """Read them from the open store. `remove_files` removes the files of a model."""
        records = RecordSet(store, KIND, LoggedModel, lambda each: each.id)
        await records.load()
        return cls(records, remove_files, clock=clock, private=private)

    async def create(
        self,
        who: Principal,
        experiment_id: str,
        *,
        name: str,
        type: str | None,  # noqa: A002 - the name of the field
        source_run_id: str | None,
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> LoggedModel:
        """Make a model whose files follow. The experiment was checked."""
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't log models")
        now = self._clock()
        model = LoggedModel(
            f"m-{secrets.token_hex(16)}", experiment_id, who.user,
            name or f"model-{secrets.token_hex(3)}", now, now, ModelStatus.PENDING,
            type, source_run_id, dict(params), dict(tags),
        )  # fmt: skip
        return await self._records.change(self._put, model)

    def get(self, who: Principal, model_id: str) -> LoggedModel:
        found = self._records.get(model_id)
        if found is None or not permissions.may_see(who, found, private=self._private):
            raise NotFound(f"Logged model {model_id[:64]!r} not found")
        return found

    def among(self, ids: Iterable[str]) -> set[str]:
        """Return those of these ids that are models."""
        return set(ids) & self._records.ids()

    def to_change(self, who: Principal, model_id: str) -> LoggedModel:
        """Like `get`, for callers that change it. Raises Forbidden for others."""
        found = self.get(who, model_id)
        if not permissions.may_change(who, found):
            raise Forbidden("Only the model's owner or an admin may change it")
        return found

    async def update(
        self,
        who: Principal,
        model_id: str,
        *,
        status: ModelStatus | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
        metrics: Sequence[ModelMetric] = (),
    ) -> LoggedModel:
        """Change what is given; a tag that is `None` is removed."""

        async def work() -> LoggedModel:
            found = self.to_change(who, model_id)
            for key, value in (params or {}).items():
                if found.params.get(key, value) != value:
                    raise BadRequest(f"param {key[:64]!r}: has another value already")
            merged = {**found.tags, **(tags or {})}
            latest = {each.identity: each for each in found.metrics}
            for each in metrics:
                old = latest.get(each.identity)
                if old is None or _place(old) <= _place(each):
                    latest[each.identity] = each
            return await self._put(
                replace(
                    found,
                    updated_at=self._clock(),
                    status=status or found.status,
                    params={**found.params, **(params or {})},
                    tags={key: value for key, value in merged.items() if value is not None},
                    metrics=tuple(latest.values())[-MAX_METRICS:],
                )
            )

        return await self._records.change(work)

    async def delete(self, who: Principal, model_id: str) -> None:
        """Remove a model with its files."""

        async def work() -> None:
            found = self.to_change(who, model_id)
            await self._records.remove(model_id)
            self._models[found.user] -= 1
            self._characters[found.user] -= found.characters
            await self._remove_files(Holder(found.user, found.id))

        await self._records.change(work)

    async def search(
        self,
        who: Principal,
        experiment_ids: Sequence[str],
        conditions: Conditions,
        order: Sequence[Order],
    ) -> list[LoggedModel]:
        """Return all that match and that the caller may see, by default the newest first."""
        seen = [
            each
            for each in self._records.newest_first()
            if each.experiment_id in experiment_ids
            and permissions.may_see(who, each, private=self._private)
        ]
        return await search(seen, conditions, order, _value_of)

    async def _put(self, model: LoggedModel) -> LoggedModel:
        """Raises BadRequest."""
        fault = (
            values_fault("param", model.params.items(), MAX_PARAM_VALUE)
            or values_fault("tag", model.tags.items(), MAX_TAG_VALUE)
            or text_fault(model.name + (model.type or "") + (model.source_run_id or ""))
        )
        if fault is not None:
            raise BadRequest(fault)
        if max(len(model.name), len(model.type or ""), len(model.source_run_id or "")) > (
            MAX_RUN_NAME
        ):
            raise BadRequest(f"name, model_type, source_run_id: at most {MAX_RUN_NAME} characters")
        characters = model.characters
        if characters > MAX_CHARACTERS:
            raise BadRequest(f"A model may have {MAX_CHARACTERS} characters of params and tags")
        before = self._records.get(model.id)
        user, more = model.user, characters - (0 if before is None else before.characters)
        if before is None and (
            self._models[user] >= MAX_OF_ONE_USER or len(self._records) >= MAX_MODELS
        ):
            raise BadRequest(
                f"Limit of {MAX_OF_ONE_USER} logged models per user and {MAX_MODELS} in all "
                "reached: delete some"
            )
        if more > 0 and self._characters[user] + more > MAX_CHARACTERS_OF_ONE_USER:
            raise BadRequest("Your logged models hold too many params and tags: delete some")
        await self._records.put(model)
        self._models[user] += before is None
        self._characters[user] += more
        return model


def _place(metric: ModelMetric) -> tuple[int, int]:
    return metric.step, metric.at


def _value_of(model: LoggedModel, asked: Field) -> str | float | None:
    match asked.source:
        case Source.PARAM:
            return model.params.get(asked.name)
        case Source.TAG:
            return model.tags.get(asked.name)
        case Source.METRIC:
            values = [each.value for each in model.metrics if each.key == asked.name]
            return values[-1] if values else None
    value: str | float | None = getattr(model, asked.name)
    return value
