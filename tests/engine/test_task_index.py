"""Pages from memory: whole and right, or left to the store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fetchml.core.footprint import spec_footprint
from fetchml.core.model import ENDED, Change, Status, SweepMember, Task
from fetchml.engine import task_index
from fetchml.engine.recent_tasks import RecentTasks
from fetchml.engine.task_index import TaskIndex
from fetchml.ports.store import StoredState, TaskPage, TaskQuery
from tests.support import tasks
from tests.support.memory_store import folded

FEW = 3
PRESTAGED: Literal["prestaged"] = "prestaged"
State = Status | Literal["prestaged"]
STATES: st.SearchStrategy[State] = st.sampled_from([*Status, PRESTAGED])
USERS = st.sampled_from(["alice", "bob"])
QUERIES = st.builds(
    TaskQuery,
    states=st.lists(st.sampled_from(list(Status)), max_size=3, unique=True).map(tuple),
    user=st.none() | USERS,
    limit=st.integers(0, 4),
    offset=st.integers(0, 6),
    before=st.none() | st.tuples(st.integers(0, 12), st.just("t05")),
    fold_sweeps=st.booleans(),
    fold_experiments=st.booleans(),
)


@pytest.fixture(autouse=True, scope="module")
def small_memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_index, "RECENT", FEW)
        yield


def newest_first(tasks: dict[str, Task], query: TaskQuery) -> list[Task]:
    found = [
        task
        for task in tasks.values()
        if not task.hidden
        and (Status.QUEUED if task.prestaged else task.status) in (query.states or Status)
        and query.user in (None, task.user)
    ]
    return sorted(found, key=lambda task: (task.created_at, task.id), reverse=True)


def in_state(task: Task, state: State) -> Task:
    if state == PRESTAGED:
        return replace(task, status=Status.PREPARING, prestaged=True)
    return replace(task, status=state, prestaged=False)


def restored(tasks: dict[str, Task]) -> StoredState:
    visible = newest_first(tasks, TaskQuery())
    return StoredState(
        instance_id="",
        last_seq=0,
        last_created_at=0,
        live=[task for task in reversed(visible) if task.status not in ENDED],
        recent={s: newest_first(tasks, TaskQuery(states=(s,)))[:FEW] for s in ENDED},
        counts=Counter((task.user, task.status) for task in visible),
    )


class World:
    """Tasks as the disk has them, and a catalog that was told of every change."""

    def __init__(self, before: Sequence[tuple[str, State]]) -> None:
        self.tasks: dict[str, Task] = {}
        for user, state in before:
            self._new(user, state)
        self.index = TaskIndex(restored(self.tasks))

    def submit(self, user: str) -> None:
        self._tell(self._new(user, Status.QUEUED))

    def move(self, which: int, to: State) -> None:
        """A live task on; one that has ended is deleted."""
        shown = newest_first(self.tasks, TaskQuery())
        if not shown:
            return
        task = shown[which % len(shown)]
        ended = task.status in ENDED
        self._tell(replace(task, hidden=True) if ended else in_state(task, to))

    def _new(self, user: str, state: State) -> Task:
        number = len(self.tasks)
        member = SweepMember(f"of-{number % 2}", number, {}) if number % 4 else None
        experiment = f"of-{number % 2}" if number % 3 else None  # Named as a sweep is.
        task = in_state(
            tasks.task(
                f"t{number:02}",
                user=user,
                created_at=number // 2,
                spec=tasks.spec(sweep=member, experiment_id=experiment),
                superseded=number % 5 == 0,
            ),
            state,
        )
        self.tasks[task.id] = task
        return task

    def _tell(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.index.committed([Change(0, 0, task)])

    def check(self, query: TaskQuery) -> TaskPage | None:
        """The page, which is right if there is one."""
        page = self.index.page(query)
        waiting = newest_first(self.tasks, TaskQuery(states=(Status.QUEUED,)))
        assert self.index.waiting == len(waiting)
        if page is not None:
            matching = newest_first(self.tasks, query)
            total = len(matching)
            matching = folded(matching, query)
            if query.before is not None:
                matching = [t for t in matching if (t.created_at, t.id) < query.before]
            wanted = matching[query.offset :][: query.limit]
            assert (page.tasks, page.total) == (wanted, total)
        return page


@given(
    before=st.lists(st.tuples(USERS, STATES), max_size=15),
    changes=st.lists(USERS | st.tuples(st.integers(0, 20), STATES), max_size=20),
    queries=st.lists(QUERIES, min_size=3, max_size=6),
)
def test_page_from_memory_is_right_or_left_to_the_store(
    before: Sequence[tuple[str, State]],
    changes: list[str | tuple[int, State]],
    queries: list[TaskQuery],
) -> None:
    world = World(before)
    for change in changes:
        if isinstance(change, str):
            world.submit(change)
        else:
            world.move(*change)
        for query in queries:
            world.check(query)
    for task in world.tasks.values():
        found = world.index.get(task.id)
        if task.status in ENDED:
            assert found == task or found is None
            assert not (found and task.hidden)
        else:
            assert found == task


def test_a_long_queue_hides_no_ended_task_from_the_first_page() -> None:
    world = World([("alice", Status.COMPLETED)] * 10 + [("bob", Status.QUEUED)] * 50)
    for states in ((Status.COMPLETED,), (Status.COMPLETED, Status.FAILED), (Status.QUEUED,), ()):
        page = world.check(TaskQuery(states=states, limit=FEW))
        assert page is not None
        assert len(page.tasks) == FEW


def test_labels_of_ended_tasks_do_not_pass_the_bound() -> None:
    kept = [tasks.task(f"t{number}", created_at=number) for number in range(5)]
    most = 3 * spec_footprint(tasks.spec(metadata={"a": "x" * 10_000}))
    recent = RecentTasks(kept[::-1], limit=5, most_bytes=most, of_all=5)
    for size in (10_000, 10, 10_000, most):
        for each in kept:
            labels = {"a": f"{each.id[-1]}" * size}
            recent.replace(replace(each, spec=tasks.spec(metadata=labels)))
            left = list(recent.newest_first())
            assert left == [recent.get(task.id) for task in kept[::-1][: len(left)]]
            assert sum(spec_footprint(task.spec) for task in left) <= most or len(left) == 1
            assert recent.floor[1] in ("", left[-1].id)
    assert [task.id for task in left] == ["t4"], "the newest is kept"
