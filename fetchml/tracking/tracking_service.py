"""Runs: what is logged to them, and how they are read. Verbs raise `errors.RequestError`."""

from collections.abc import Callable, Mapping, Sequence

from fetchml.core.model import Principal
from fetchml.core.tracking import (
    MAX_HISTORY_PAGE,
    Curve,
    CurveQuery,
    HistoryPage,
    Point,
    Run,
    RunPage,
    RunStatus,
    RunView,
    Visibility,
)
from fetchml.core.tracking_filters import Conditions, Order


class Tracking:
    """Used from one event loop. What a verb changes is durable on return.

    Whoever may read tasks reads runs; on a private server only the owner and admins, and others'
    runs are not found. Only owner and admins change a run.
    """

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
        raise NotImplementedError

    async def get_run(self, who: Principal, run_id: str) -> RunView:
        """Return a run, also a deleted one."""
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    async def delete_tag(self, who: Principal, run_id: str, key: str) -> None:
        """Raises NotFound if the run has no such tag."""
        raise NotImplementedError

    async def delete_run(self, who: Principal, run_id: str) -> None:
        """Take it out of lists. It is removed for good later; until then it can be restored."""
        raise NotImplementedError

    async def restore_run(self, who: Principal, run_id: str) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    async def curves(self, who: Principal, query: CurveQuery) -> list[Curve]:
        """Return the curves that have points, in the order of the runs, then of the metrics."""
        raise NotImplementedError
