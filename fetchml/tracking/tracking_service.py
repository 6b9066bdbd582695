"""Runs: what is logged to them, and how they are read. Verbs raise `errors.RequestError`."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.model import Principal
from fetchml.core.requests.checks import text_fault
from fetchml.core.tracking import (
    DEFAULT_BUCKETS,
    DEFAULT_EXPERIMENT,
    DELETED_KEPT_MS,
    MAX_DETAILS,
    MAX_HISTORY_PAGE,
    MAX_METRICS_OF_RUN,
    MAX_PARAM_VALUE,
    MAX_PARAMS_OF_RUN,
    MAX_RUN_NAME,
    MAX_RUNS_OF_SEARCH,
    MAX_TAG_VALUE,
    MAX_TAGS_OF_RUN,
    MAX_TIME,
    TIME_RULE,
    Axis,
    Curve,
    CurveQuery,
    HistoryPage,
    Point,
    Run,
    RunPage,
    RunStatus,
    RunView,
    Visibility,
    curves_fault,
    is_run_id,
    key_fault,
    points_fault,
    values_fault,
)
from fetchml.core.tracking_filters import Conditions, Order
from fetchml.engine.experiments import Experiments
from fetchml.engine.slow_reads import SlowReads
from fetchml.errors import BadRequest, DiskFull, Forbidden, NotFound
from fetchml.ports.store import Store
from fetchml.ports.tracking_store import RunQuery, StoredRun, TrackingWrite, UserTotal
from fetchml.system.ids import IdSequence
from fetchml.system.locks import KeyedLocks
from fetchml.tracking.filters import parse_filter, parse_order
from fetchml.tracking.open_runs import OpenRun, OpenRuns

TOO_LONG = "The runs take too long to read: narrow the request"
DEFAULT_RUNS = 50
MAX_RUNS_OF_LIST = 1_000
MAX_ORDERS = 10
MAX_FILTER = 2_000
_UNFINISHED = (RunStatus.RUNNING, RunStatus.SCHEDULED)
RESTORE_MARGIN_MS = 3_600_000
"""A run that is about to be removed for good cannot be restored or found."""


class TrackingLimits(msgspec.Struct, frozen=True):
    """What one user may keep, deleted runs left out."""

    runs: int = 100_000
    points: int = 500_000_000
    characters: int = 1 << 30
    """Of parameters, tags, inputs and outputs."""


class _Totals:
    """What users keep, with each one's limits."""

    def __init__(self, stored: Mapping[str, UserTotal], limits: TrackingLimits) -> None:
        self._of = dict(stored)
        self._limits = limits

    def require_room(self, user: str, more: UserTotal) -> None:
        """Raises BadRequest: waiting would not help."""
        total = self._sum(user, more)
        for name in ("runs", "points", "characters"):
            most = getattr(self._limits, name)
            if getattr(more, name) > 0 and getattr(total, name) > most:
                what = "characters of text" if name == "characters" else name
                raise BadRequest(f"Per-user limit of {most} {what} reached: delete runs")

    def add(self, user: str, more: UserTotal) -> None:
        self._of[user] = self._sum(user, more)

    def _sum(self, user: str, more: UserTotal) -> UserTotal:
        old = self._of.get(user, UserTotal())
        return UserTotal(
            old.runs + more.runs, old.points + more.points, old.characters + more.characters
        )


class Tracking:
    """Used from one event loop. What a verb changes is durable on return.

    Whoever may read tasks reads runs; on a private server only the owner and admins, and others'
    runs are not found. Only owner and admins change a run.
    """

    def __init__(
        self,
        store: Store,
        experiments: Experiments,
        audit: Audit,
        slow_reads: SlowReads,
        totals: _Totals,
        last_series: int,
        unfinished: Sequence[tuple[str, str]],
        *,
        clock: Callable[[], int],
        ids: IdSequence,
        private: bool,
    ) -> None:
        """See `load`."""
        self._store = store
        self._experiments = experiments
        self._audit = audit
        self._slow_reads = slow_reads
        self._totals = totals
        self._last_series = last_series
        self._clock = clock
        self._ids = ids
        self._private = private
        self._open = OpenRuns()
        self._unfinished = defaultdict[str, set[str]](set)
        """Ids of the runs that live tasks have made, by task."""
        for task_id, run_id in unfinished:
            self._unfinished[task_id].add(run_id)
        self._locks = KeyedLocks()

    @classmethod
    async def load(
        cls,
        store: Store,
        experiments: Experiments,
        audit: Audit,
        slow_reads: SlowReads,
        *,
        clock: Callable[[], int],
        ids: IdSequence,
        private: bool,
        limits: TrackingLimits = TrackingLimits(),  # noqa: B008 - immutable
    ) -> "Tracking":
        """Read from the open store what users keep."""
        totals = _Totals(await store.tracking.totals(), limits)
        last_series = await store.tracking.last_series()
        unfinished = await store.tracking.unfinished()
        return cls(
            store,
            experiments,
            audit,
            slow_reads,
            totals,
            last_series,
            unfinished,
            clock=clock,
            ids=ids,
            private=private,
        )

    async def create_run(
        self,
        who: Principal,
        experiment_id: str,
        *,
        name: str = "",
        tags: Mapping[str, str] | None = None,
        started_at: int | None = None,
        task_id: str | None = None,
        run_id: str | None = None,
    ) -> Run:
        """Make a run. `started_at`: now if `None`. `run_id`: chosen if `None`; if there is such a
        run of the same user already, it is returned unchanged."""
        if not permissions.may_submit(who):
            raise Forbidden("A viewer's key can't create runs")
        tags = tags or {}
        now = self._clock()
        started_at = now if started_at is None else started_at
        _require_name(name)
        _require_time("start", started_at)
        _require(values_fault("tag", tags.items(), MAX_TAG_VALUE))
        _require_most("tags", len(tags), MAX_TAGS_OF_RUN)
        chosen = run_id is not None
        if run_id is None:
            self._require_experiment(who, experiment_id)
            run_id = UUID(self._ids.next(now)).hex
        elif not is_run_id(run_id):
            raise BadRequest("run_id: must be 32 hexadecimal digits")
        if not self._store.has_room():
            raise DiskFull
        async with self._locks.hold(run_id):
            found = await self._find(run_id) if chosen else None
            if found is not None:
                if found.run.user != who.user:
                    raise _not_found(run_id)
                return found.run
            run = Run(run_id, experiment_id, who.user, name, RunStatus.RUNNING, started_at, task_id)
            made = OpenRun(StoredRun(run, (), {}, dict(tags)))
            more = UserTotal(1, 0, made.characters)
            self._totals.require_room(who.user, more)
            write = TrackingWrite(runs=(run,), tags=[(run_id, *tag) for tag in tags.items()])
            durable = self._store.tracking.write(write)
            self._totals.add(who.user, more)
            self._open.put(made)
            if task_id is not None:
                self._unfinished[task_id].add(run_id)
        await durable
        return run

    async def get_run(self, who: Principal, run_id: str) -> RunView:
        """Return a run, also a deleted one."""
        found = await self._store.tracking.get(run_id) if is_run_id(run_id) else None
        if found is None or not self._is_visible(who, found.run):
            raise _not_found(run_id)
        return found

    async def run(self, who: Principal, run_id: str) -> Run:
        """Return a run without what was logged, also a deleted one."""
        [found] = await self._visible(who, [run_id])
        return found

    async def among(self, ids: Sequence[str]) -> set[str]:
        """Return those of these ids that are runs, deleted ones included."""
        return {each.id for each in await self._store.tracking.runs(ids)}

    async def update_run(
        self,
        who: Principal,
        run_id: str,
        *,
        status: RunStatus | None = None,
        ended_at: int | None = None,
        name: str | None = None,
        details: Callable[[str], str] | None = None,
    ) -> Run:
        """Change what is not `None`. `details`: a function from the old to the new text."""
        if name is not None:
            _require_name(name)
        if ended_at is not None:
            _require_time("end", ended_at)
        async with self._locks.hold(run_id):
            found = await self._find_to_write(who, run_id)
            old = found.run
            run = replace(
                old,
                name=old.name if name is None else name,
                status=old.status if status is None else status,
                ended_at=old.ended_at if ended_at is None else ended_at,
                details=old.details if details is None else details(old.details),
            )
            if len(run.details) > MAX_DETAILS:
                raise BadRequest(f"Inputs and outputs: at most {MAX_DETAILS} characters in all")
            more = UserTotal(0, 0, len(run.details) - len(old.details))
            self._totals.require_room(run.user, more)
            durable = self._store.tracking.write(TrackingWrite(runs=(run,)))
            self._totals.add(run.user, more)
            found.run = run
            self._open.put(found)
        await durable
        return run

    def unfinished_tasks(self) -> tuple[str, ...]:
        """Return the ids of tasks with runs that `end_runs` has not ended yet."""
        return tuple(self._unfinished)

    def has_unfinished(self, task_id: str) -> bool:
        """Return whether `end_runs` has anything to do."""
        return task_id in self._unfinished

    async def end_runs(self, task_id: str, status: RunStatus, ended_at: int) -> None:
        """End the runs of a task that has ended, unless they have ended themselves."""
        for run_id in self._unfinished.pop(task_id, ()):
            async with self._locks.hold(run_id):
                found = await self._find(run_id)
                if found is None or found.run.deleted_at is not None:
                    continue
                if found.run.status not in _UNFINISHED:
                    continue
                found.run = replace(found.run, status=status, ended_at=ended_at)
                durable = self._store.tracking.write(TrackingWrite(runs=(found.run,)))
                self._open.put(found)
            await durable

    async def log(
        self,
        who: Principal,
        run_id: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add points, parameters and tags: all of it or, with an error, nothing.

        A point that is stored with the same step, time and value adds nothing. A parameter keeps
        its value: another one raises BadRequest. A tag is replaced.
        """
        params, tags = params or {}, tags or {}
        _require(points_fault(points))
        _require(values_fault("param", params.items(), MAX_PARAM_VALUE))
        _require(values_fault("tag", tags.items(), MAX_TAG_VALUE))
        if not self._store.has_room():
            raise DiskFull
        async with self._locks.hold(run_id):
            found = await self._find_to_write(who, run_id)
            new_params = _new_params(found, params)
            _require_most(
                "metrics", found.metrics + len(found.new_metrics(points)), MAX_METRICS_OF_RUN
            )
            _require_most("params", len(found.params) + len(new_params), MAX_PARAMS_OF_RUN)
            _require_most("tags", len(found.tags.keys() | tags.keys()), MAX_TAGS_OF_RUN)
            plan = found.plan(points, self._last_series + 1)
            # Before others have their turn.
            self._last_series += len(plan.series)
            if plan.old:
                await self._store.tracking.write(TrackingWrite())
                async with self._slow_reads.turn(who.user, TOO_LONG):
                    stored = await self._store.tracking.stored(plan.old)
                plan.new += [row for place, row in enumerate(plan.old) if place not in stored]
            more = UserTotal(0, len(plan.new), _more_characters(found, new_params, tags))
            self._totals.require_room(found.run.user, more)
            durable = self._store.tracking.write(
                TrackingWrite(
                    params=[(run_id, *each) for each in new_params.items()],
                    tags=[(run_id, *each) for each in tags.items()],
                    series=plan.series,
                    points=plan.new,
                )
            )
            self._totals.add(found.run.user, more)
            found.advance(plan)
            found.params |= new_params
            found.tags |= tags
            if plan.series or new_params or tags:
                self._open.put(found)
        await durable

    async def delete_tag(self, who: Principal, run_id: str, key: str) -> None:
        """Raises NotFound if the run has no such tag."""
        async with self._locks.hold(run_id):
            found = await self._find_to_write(who, run_id)
            if key not in found.tags:
                raise NotFound(f"Run {run_id} has no tag {key[:64]!r}")
            durable = self._store.tracking.write(TrackingWrite(removed_tags=[(run_id, key)]))
            less = UserTotal(0, 0, -len(key) - len(found.tags.pop(key)))
            self._totals.add(found.run.user, less)
            self._open.put(found)
        await durable

    async def delete_run(self, who: Principal, run_id: str) -> None:
        """Take it out of lists. It is removed for good later; until then it can be restored."""
        await self._set_deleted(who, run_id, Action.RUN_DELETE, self._clock())

    async def restore_run(self, who: Principal, run_id: str) -> None:
        """Take a deleted run back."""
        await self._set_deleted(who, run_id, Action.RUN_RESTORE, None)

    async def search(
        self,
        who: Principal,
        *,
        experiment_ids: Sequence[str] = (),
        run_ids: Sequence[str] = (),
        task_id: str | None = None,
        conditions: Conditions = (),
        order: Sequence[Order] = (),
        limit: int = 50,
        page_token: str = "",
        visibility: Visibility = Visibility.ACTIVE,
    ) -> RunPage:
        """Return the runs that match and that the caller may see."""
        if not 1 <= limit <= MAX_RUNS_OF_SEARCH:
            raise BadRequest(f"limit: must be 1 to {MAX_RUNS_OF_SEARCH}")
        offset = _offset(page_token)
        query = RunQuery(
            experiment_ids=experiment_ids,
            run_ids=run_ids,
            task_id=task_id,
            user=None if permissions.sees_all(who, private=self._private) else who.user,
            conditions=conditions,
            order=order,
            visibility=visibility,
            limit=limit + 1,
            offset=offset,
        )
        async with self._slow_reads.turn(who.user, TOO_LONG):
            found = await self._store.tracking.search(query)
        runs = tuple(found.runs[:limit])
        more = found.cut or len(found.runs) > limit
        return RunPage(runs, str(offset + len(runs)) if more else "")

    async def list_runs(
        self,
        who: Principal,
        experiment_id: str | None = None,
        task_id: str | None = None,
        ids: tuple[str, ...] | None = None,
        filter: str | None = None,  # noqa: A002 - the name of the parameter
        order_by: tuple[str, ...] | None = None,
        limit: int | None = None,
        page_token: str | None = None,
    ) -> RunPage:
        """Return the runs that the text of a request asks for."""
        limit = DEFAULT_RUNS if limit is None else limit
        if not 1 <= limit <= MAX_RUNS_OF_LIST:
            raise BadRequest(f"limit: must be 1 to {MAX_RUNS_OF_LIST}")
        if ids and len(ids) > MAX_RUNS_OF_LIST:
            raise BadRequest(f"ids: at most {MAX_RUNS_OF_LIST}")
        if order_by and len(order_by) > MAX_ORDERS:
            raise BadRequest(f"order_by: at most {MAX_ORDERS}")
        if any(len(each) > MAX_FILTER for each in (filter or "", *(order_by or ()))):
            raise BadRequest(f"filter, order_by: at most {MAX_FILTER} characters")
        return await self.search(
            who,
            experiment_ids=(experiment_id,) if experiment_id else (),
            run_ids=ids or (),
            task_id=task_id,
            conditions=parse_filter(filter or ""),
            order=parse_order(order_by or ()),
            limit=limit,
            page_token=page_token or "",
        )

    async def history(
        self,
        who: Principal,
        run_id: str,
        key: str,
        *,
        limit: int = MAX_HISTORY_PAGE,
        page_token: str = "",
    ) -> HistoryPage:
        """Return the points of a metric; none if the run has no such metric."""
        if not 1 <= limit <= MAX_HISTORY_PAGE:
            raise BadRequest(f"limit: must be 1 to {MAX_HISTORY_PAGE}")
        _require(key_fault("metric", key))
        offset = _offset(page_token)
        await self._visible(who, [run_id])
        async with self._slow_reads.turn(who.user, TOO_LONG):
            points = await self._store.tracking.history(run_id, key, limit=limit + 1, offset=offset)
        more = len(points) > limit
        return HistoryPage(tuple(points[:limit]), str(offset + limit) if more else "")

    async def curves(self, who: Principal, query: CurveQuery) -> list[Curve]:
        """Return the curves that have points, in the order of the runs, then of the metrics."""
        _require(curves_fault(query))
        runs = await self._visible(who, query.run_ids)
        async with self._slow_reads.turn(who.user, TOO_LONG):
            return await self._store.tracking.curves(runs, query)

    async def draw(
        self,
        who: Principal,
        run_ids: tuple[str, ...] | None = None,
        metrics: tuple[str, ...] | None = None,
        buckets: int | None = None,
        axis: str | None = None,
        **bounds: float | None,
    ) -> list[Curve]:
        """Return the curves that a request asks for. `bounds`: `from` and `to`."""
        if axis is not None and axis not in tuple(Axis):
            raise BadRequest(f"axis: must be one of {', '.join(Axis)}")
        return await self.curves(
            who,
            CurveQuery(
                run_ids or (),
                metrics or (),
                DEFAULT_BUCKETS if buckets is None else buckets,
                Axis.STEP if axis is None else Axis(axis),
                bounds.get("from"),
                bounds.get("to"),
            ),
        )

    async def _set_deleted(
        self, who: Principal, run_id: str, action: Action, deleted_at: int | None
    ) -> None:
        async with self._locks.hold(run_id):
            found = await self._find_of(who, run_id)
            if (found.run.deleted_at is None) is (deleted_at is None):
                return
            sign = 1 if deleted_at is None else -1
            more = UserTotal(sign, sign * found.points, sign * found.characters)
            self._totals.require_room(found.run.user, more)
            run = replace(found.run, deleted_at=deleted_at)
            durable = self._store.tracking.write(TrackingWrite(runs=(run,)))
            recorded = self._audit.done(who, action, run_id, run.name)
            self._totals.add(run.user, more)
            found.run = run
        await durable
        await recorded

    def _require_experiment(self, who: Principal, experiment_id: str) -> None:
        if experiment_id == DEFAULT_EXPERIMENT:
            return
        self._experiments.get(who, experiment_id)
        if not self._experiments.takes_tasks(who, experiment_id):
            raise BadRequest(f"Experiment {experiment_id} is archived: choose another one")

    async def _find(self, run_id: str) -> OpenRun | None:
        """Return a run for its writers. With its lock held."""
        found = self._open.get(run_id)
        if found is None:
            # What was written before it went out of memory must be there.
            await self._store.tracking.write(TrackingWrite())
            stored = await self._store.tracking.load(run_id)
            if stored is None:
                return None
            found = OpenRun(stored)
            self._open.put(found)
        return found

    async def _find_of(self, who: Principal, run_id: str) -> OpenRun:
        found = await self._find(run_id) if is_run_id(run_id) else None
        if found is None or not self._is_visible(who, found.run):
            raise _not_found(run_id)
        if not permissions.may_change(who, found.run):
            raise Forbidden("Only the run's owner or an admin may change it")
        return found

    async def _find_to_write(self, who: Principal, run_id: str) -> OpenRun:
        found = await self._find_of(who, run_id)
        if found.run.deleted_at is not None:
            raise BadRequest(f"Run {run_id} is deleted: restore it first")
        return found

    def _is_visible(self, who: Principal, run: Run) -> bool:
        gone_at = self._clock() - DELETED_KEPT_MS + RESTORE_MARGIN_MS
        if run.deleted_at is not None and run.deleted_at < gone_at:
            return False
        return permissions.may_see(who, run, private=self._private)

    async def _visible(self, who: Principal, run_ids: Sequence[str]) -> list[Run]:
        """Return runs in this order, each once."""
        wanted = list(dict.fromkeys(run_ids))
        found = {each.id: each for each in await self._store.tracking.runs(wanted)}
        for run_id in wanted:
            if run_id not in found or not self._is_visible(who, found[run_id]):
                raise _not_found(run_id)
        return [found[run_id] for run_id in wanted]


def _new_params(found: OpenRun, params: Mapping[str, str]) -> dict[str, str]:
    """Raises BadRequest if one has another value already."""
    for key, value in params.items():
        if found.params.get(key, value) != value:
            raise BadRequest(
                f"param {key!r}: has the value {found.params[key][:200]!r} already, and cannot be "
                f"changed to {value[:200]!r}"
            )
    return {key: value for key, value in params.items() if key not in found.params}


def _more_characters(found: OpenRun, new_params: Mapping[str, str], tags: Mapping[str, str]) -> int:
    more = sum(len(key) + len(value) for key, value in new_params.items())
    for key, value in tags.items():
        old = found.tags.get(key)
        more += len(value) - len(old) if old is not None else len(key) + len(value)
    return more


def _not_found(run_id: str) -> NotFound:
    return NotFound(f"Run {run_id[:64]!r} not found")


def _offset(page_token: str) -> int:
    if not page_token:
        return 0
    if page_token.isascii() and page_token.isdigit() and len(page_token) < 10:
        return int(page_token)
    raise BadRequest("page_token: must be the token of the previous page")


def _require(fault: str | None) -> None:
    if fault is not None:
        raise BadRequest(fault)


def _require_most(what: str, number: int, most: int) -> None:
    if number > most:
        raise BadRequest(f"{what}: a run may have at most {most}")


def _require_name(name: str) -> None:
    if len(name) > MAX_RUN_NAME:
        raise BadRequest(f"name: at most {MAX_RUN_NAME} characters")
    if fault := text_fault(name):
        raise BadRequest(f"name: {fault}")


def _require_time(what: str, at: int) -> None:
    if not 0 <= at <= MAX_TIME:
        raise BadRequest(f"{what}: {TIME_RULE}")
