"""The store's runs: points of metrics, parameters, tags.

A part of the store (`ports.store`): usable while that is open, with the same writer, so a failed
commit is final for both.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from fetchml.core.tracking import Curve, CurveQuery, Point, Run, RunView, Visibility
from fetchml.core.tracking_filters import Conditions, Order


class Series(msgspec.Struct, frozen=True):
    """A metric of a run."""

    id: int
    run_id: str
    key: str


class SeriesHead(msgspec.Struct, frozen=True):
    """A stored series with its latest point, by step, then time."""

    series: Series
    step: int
    at: int
    points: int = 0
    """Number of its points; not kept up while it is written."""


class TrackingWrite(msgspec.Struct, frozen=True):
    """What one call writes: all of it in one commit, or nothing."""

    runs: Sequence[Run] = ()
    """Inserted, or replaced by id."""
    params: Sequence[tuple[str, str, str]] = ()
    """(run, name, value) of parameters that are not stored."""
    tags: Sequence[tuple[str, str, str]] = ()
    """(run, name, value), inserted or replaced."""
    removed_tags: Sequence[tuple[str, str]] = ()
    """(run, name)."""
    series: Sequence[Series] = ()
    """New ones."""
    points: Sequence[tuple[int, int, int, float]] = ()
    """(series, step, time, value), appended as they are."""


class StoredRun(msgspec.Struct, frozen=True):
    """A run with what a writer must know of it."""

    run: Run
    heads: Sequence[SeriesHead]
    params: dict[str, str]
    tags: dict[str, str]


class RunQuery(msgspec.Struct, frozen=True):
    """Which runs to return. An empty or `None` field does not restrict the result."""

    experiment_ids: Sequence[str] = ()
    run_ids: Sequence[str] = ()
    task_id: str | None = None
    user: str | None = None
    conditions: Conditions = ()
    order: Sequence[Order] = ()
    """Before the default: newest start first, then by id."""
    visibility: Visibility = Visibility.ACTIVE
    limit: int = 50
    offset: int = 0


class FoundRuns(msgspec.Struct, frozen=True):
    runs: Sequence[RunView]
    cut: bool = False
    """The page ends early, because its runs hold much."""


class UserTotal(msgspec.Struct, frozen=True):
    """What the runs of a user hold, deleted ones left out."""

    runs: int = 0
    points: int = 0
    characters: int = 0
    """Of parameters, tags and details."""


class TrackingStore(Protocol):
    """Reads see everything that was durable when they began. `stored`, `search`, `history` and
    `curves` may take long: they raise `ports.store.ReadTooLong`.

    Runs that were deleted DELETED_KEPT_MS ago are removed for good: none of them may be written.
    """

    def write(self, write: TrackingWrite) -> asyncio.Future[None]:
        """Make it durable, in one commit with all others of this moment. Calls keep their order."""

    async def last_series(self) -> int:
        """Return the highest id of a series that was ever used; 0 if there is none."""

    async def unfinished(self) -> list[tuple[str, str]]:
        """Return (task, run) of the runs of tasks that are running or scheduled."""

    async def totals(self) -> dict[str, UserTotal]:
        """Sum up by user."""

    async def get(self, run_id: str) -> RunView | None:
        """Return a run, deleted ones included."""

    async def load(self, run_id: str) -> StoredRun | None:
        """Return a run with what a writer must know, deleted ones included."""

    async def stored(self, points: Sequence[tuple[int, int, int, float]]) -> set[int]:
        """Return the positions of those points that are stored with the same step, time and
        value."""

    async def search(self, query: RunQuery) -> FoundRuns:
        """Return a page of runs in their order; at least one run, if there is one."""

    async def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Return those of these runs that there are, deleted ones included, in any order."""

    async def history(self, run_id: str, key: str, *, limit: int, offset: int) -> list[Point]:
        """Return points of a metric in the order of step, then time."""

    async def curves(self, runs: Sequence[Run], query: CurveQuery) -> list[Curve]:
        """Return the curves that have points, in the order of the runs, then of the metrics."""
