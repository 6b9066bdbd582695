"""The first waiting tasks, and the places of some, agree with the order of the whole queue."""

from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.model import Task
from fetchml.core.scheduling.ready_queue import ReadyQueue
from tests.support.tasks import task

LEVELS = {"ann": 0, "bob": 1, "eve": 1}

tasks = st.lists(
    st.builds(
        lambda number, user, priority, cpu, at: (user, priority, cpu, at),
        st.integers(),
        st.sampled_from(sorted(LEVELS)),
        st.integers(1, 3),
        st.integers(0, 2),
        st.integers(1, 5),
    ),
    max_size=40,
)


def level(user: str) -> int:
    return LEVELS[user]


@given(tasks, st.integers(0, 45), st.sets(st.integers(0, 39)))
def test_first_and_places_agree_with_the_whole_order(
    made: list[tuple[str, int, int, int]], count: int, removed: set[int]
) -> None:
    queue, known = ReadyQueue(), dict[str, Task]()
    for number, (user, priority, cpu, at) in enumerate(made):
        one = task(f"t{number:02}", user=user, priority=priority, cpu=cpu, created_at=at)
        known[one.id] = one
        queue.add(one, now=10)
    for number in removed:
        queue.remove(f"t{number:02}")
    order = [entry.task_id for _, entry in queue.entries(level)]
    assert [entry.task_id for entry in queue.first(count, level)] == order[:count]
    for user in LEVELS:
        own = [each for each in order if known[each].user == user]
        assert [entry.task_id for entry in queue.first(count, level, user)] == own[:count]
        places: list[int] = []
        for found in queue.positions([known[each] for each in own], level):
            places = list(found)
        assert places == [order.index(each) + 1 for each in own]


def test_delayed_tasks_come_by_the_end_of_their_delay() -> None:
    queue = ReadyQueue()
    for name, user, due in (("a", "ann", 30), ("b", "bob", 20), ("c", "ann", 25)):
        queue.add(task(name, user=user, not_before=due), now=10)
    assert queue.first(5) == []
    assert queue.first_delayed(2) == ["b", "c"]
    assert queue.first_delayed(5, "ann") == ["c", "a"]
