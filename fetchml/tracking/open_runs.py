"""Runs that are being written, in memory: what a writer must know without a read."""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from fetchml.core.tracking import Point
from fetchml.ports.tracking_store import Series, SeriesHead, StoredRun

CACHE_CHARACTERS = 64 << 20
"""Memory for all of them, roughly."""
_PER_ENTRY = 200
"""Memory of a series, parameter or tag beside its text."""

Row = tuple[int, int, int, float]
"""(series, step, time, value)"""


class OpenRun:
    """A run, with the latest point of each metric, its parameters and tags. It may be ahead of
    what is durable."""

    def __init__(self, stored: StoredRun) -> None:
        self.run = stored.run
        self.params = stored.params
        self.tags = stored.tags
        self.points = sum(each.points for each in stored.heads)
        self._heads = {each.series.key: each for each in stored.heads}

    @property
    def metrics(self) -> int:
        return len(self._heads)

    @property
    def characters(self) -> int:
        """Of parameters, tags and details."""
        texts = (len(k) + len(v) for each in (self.params, self.tags) for k, v in each.items())
        return len(self.run.details) + sum(texts)

    @property
    def size(self) -> int:
        entries = len(self._heads) + len(self.params) + len(self.tags) + 1
        return self.characters + entries * _PER_ENTRY

    def new_metrics(self, points: Sequence[Point]) -> set[str]:
        return {each.key for each in points} - self._heads.keys()

    def plan(self, points: Sequence[Point], next_series: int) -> "Plan":
        """Sort points by whether they may be stored already: one that is later than all of its
        series is new. `next_series`: first id for new series."""
        plan = Plan({}, [], [])
        for point in points:
            head = plan.heads.get(point.key) or self._heads.get(point.key)
            if head is None:
                series = Series(next_series + len(plan.series), self.run.id, point.key)
                plan.series.append(series)
                head = SeriesHead(series, point.step, point.at - 1)
            # The same object for each: rows that hold it are equal.
            value = point.value if point.value == point.value else _NAN
            row = (head.series.id, point.step, point.at, value)
            if (point.step, point.at) > (head.step, head.at):
                plan.new.append(row)
                plan.heads[point.key] = SeriesHead(head.series, point.step, point.at)
            else:
                plan.old.append(row)
        if plan.old:
            new = set(plan.new)
            plan.old = [row for row in dict.fromkeys(plan.old) if row not in new]
        return plan

    def advance(self, plan: "Plan") -> None:
        """Take over what was written."""
        self._heads |= plan.heads
        self.points += len(plan.new)


_NAN = float("nan")


class Plan(msgspec.Struct):
    """How points are stored."""

    heads: dict[str, SeriesHead]
    """The series that advance."""
    new: list[Row]
    old: list[Row]
    """Those that may be stored already."""
    series: list[Series] = []
    """New ones."""


class OpenRuns:
    """The runs that were used last."""

    def __init__(self, characters: int = CACHE_CHARACTERS) -> None:
        self._characters = characters
        self._runs = OrderedDict[str, tuple[OpenRun, int]]()
        self._used = 0

    def get(self, run_id: str) -> OpenRun | None:
        found = self._runs.get(run_id)
        if found is None:
            return None
        self._runs.move_to_end(run_id)
        return found[0]

    def put(self, run: OpenRun) -> None:
        """Add a run, or account for one that has changed."""
        self.forget(run.run.id)
        size = run.size
        self._runs[run.run.id] = run, size
        self._used += size
        while self._used > self._characters and len(self._runs) > 1:
            _, (_, size) = self._runs.popitem(last=False)
            self._used -= size

    def forget(self, run_id: str) -> None:
        found = self._runs.pop(run_id, None)
        if found is not None:
            self._used -= found[1]
