"""Replays of what a core with a few GPUs did, each on a host that differs in one thing."""

from collections.abc import Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush

import pytest

from fetchml.core.events import (
    CancelRequested,
    Collected,
    Ended,
    Event,
    GpuChecked,
    Started,
    UpdateRequested,
)
from fetchml.core.model import AttemptEnd, Status, Task, User
from fetchml.core.requests.update import TaskUpdate
from fetchml.core.whatif import whatif
from fetchml.core.whatif.replay import Host
from fetchml.core.whatif.request import with_gpus
from fetchml.core.whatif.whatif import Changed, Question, TooManyTasks, WhatIf, what_if
from tests.core import host
from tests.core.host import task

SECOND = 1_000
CHANGED = (Changed("tested", "", ""),)


class Recorded(host.Host):
    """A core whose changes are kept, as the journal does."""

    def __init__(self, gpus: int = 2, **limits: object) -> None:
        self.journal: list[tuple[int, int, Task]] = []
        super().__init__(gpus, **limits)  # type: ignore[arg-type]

    def do(self, event: Event) -> list[str]:
        started = super().do(event)
        for changed in self.last.changes:
            self.journal.append((len(self.journal) + 1, event.now, changed))
        return started

    def play(self, tasks: Mapping[Task, int], then: Mapping[int, Event] | None = None) -> None:
        """Submit tasks at their time. Each runs for so many seconds. `then`: further events."""
        due: list[tuple[int, str, Task | Event | None]] = [
            (each.created_at, each.id, each) for each in tasks
        ]
        due += [(at, "", event) for at, event in (then or {}).items()]
        heapify(due)
        seconds = {each.id: took for each, took in tasks.items()}
        while due:
            self.now, task_id, what = heappop(due)
            if what is None:
                started = self.end(task_id)
            else:
                started = self.submit(what) if isinstance(what, Task) else self.do(what)
            self.run(started)
            for each in started:
                heappush(due, (self.now + seconds[each] * SECOND, each, None))

    def run(self, started: list[str]) -> None:
        """The commands of these tasks are started, unless they are already."""
        for each in started:
            if self.task(each).status is Status.PREPARING:
                self.do(Started(self.now, each, self.task(each).attempt, self.now))

    def what_if(
        self, since: int = 0, until: int | None = None, gpus: int | None = None, **limits: object
    ) -> WhatIf:
        before = {each.id: each for _, at, each in self.journal if at <= since}
        changes = [change for change in self.journal if change[1] > since]
        was = Host(self.state.limits, len(self.gpus), self.gpus, (), ())
        other = was._replace(limits=replace(was.limits, **limits))  # type: ignore[arg-type]
        if gpus is not None:
            other = with_gpus(other, gpus, since)
        asked = Question(since, until or self.now, was, other, CHANGED if other != was else ())
        return what_if(asked, [*before.values()], changes)


def queue(number: int = 4, **spec: object) -> dict[Task, int]:
    """Tasks that are submitted one after the other, from 1 s on. Each runs for 100 s."""
    return {task(f"t{n}", at=SECOND + n, **spec): 100 for n in range(number)}  # type: ignore[arg-type]


def waits(found: WhatIf) -> tuple[float, float, float, float]:
    """Median and 90th percentile, as recorded and as replayed, in whole seconds."""
    before, after = found.recorded.waits, found.replayed.waits
    return round(before.p50), round(before.p90), round(after.p50), round(after.p90)


def repeats(found: WhatIf, starts: int) -> bool:
    return found.starts == found.same_starts == starts


def test_with_nothing_changed_the_recorded_starts_come_back() -> None:
    recorded = Recorded()
    recorded.play(queue(6))
    found = recorded.what_if()
    assert repeats(found, 6)
    assert found.tasks == 6
    assert found.replayed == found.recorded
    assert found.notes == ()


def test_a_higher_quota_shortens_waits_and_a_lower_one_lengthens_them() -> None:
    limited = Recorded(user_gpus=1)
    limited.play(queue())
    assert waits(limited.what_if(user_gpus=2)) == (200, 300, 100, 100)
    free = Recorded()
    free.play(queue())
    assert waits(free.what_if(user_gpus=1, until=500 * SECOND)) == (100, 100, 200, 300)


def test_a_quota_is_each_users_own() -> None:
    recorded = Recorded()
    recorded.play(queue(2) | {task("b", user="bob", at=2 * SECOND): 100})
    found = recorded.what_if(user_gpus=1)
    after = {each.user: round(each.p90) for each in found.replayed.users}
    assert after == {"alice": 100, "bob": 0}
    assert {each.user: round(each.p90) for each in found.recorded.users} == {"alice": 0, "bob": 99}


def test_added_gpus_take_the_queue_and_are_less_in_use() -> None:
    recorded = Recorded()
    recorded.play(queue())
    found = recorded.what_if(gpus=4, since=SECOND - 1)
    assert waits(found) == (100, 100, 0, 0)
    assert found.recorded.gpus_busy == pytest.approx(1, abs=0.01)
    assert found.replayed.gpus_busy == pytest.approx(0.5, abs=0.01)


def test_removed_gpus_take_no_task_but_finish_theirs() -> None:
    recorded = Recorded()
    recorded.play(queue())
    until = 401 * SECOND
    assert waits(recorded.what_if(gpus=1, until=until)) == (100, 100, 200, 300)
    # Both GPUs are held when this period begins: the one that is gone is not given out again.
    found = recorded.what_if(gpus=1, since=50 * SECOND, until=until)
    assert waits(found) == (100, 100, 100, 200)
    assert found.replayed.not_started == 0


def test_without_gpus_tasks_wait_to_the_end() -> None:
    recorded = Recorded()
    recorded.play(queue())
    found = recorded.what_if(gpus=0)
    assert found.replayed.not_started == 4
    assert found.replayed.gpus_busy is None


def test_with_preemption_an_urgent_task_does_not_wait() -> None:
    recorded = Recorded(1)
    low = task("low", at=SECOND, priority=1, preemptible=True)
    recorded.play({low: 100, task("high", at=11 * SECOND, priority=9): 10})
    assert recorded.what_if().recorded.waits.p90 == 90
    found = recorded.what_if(preemption=True, until=300 * SECOND)
    assert found.replayed.waits.p90 == 0
    # The task that made way ran again for as long as it had: 10 + 10 + 100 s.
    assert found.replayed.gpus_busy == pytest.approx(120 / 300, abs=0.01)


def test_without_preemption_a_preempted_attempt_runs_as_long_as_the_next_one() -> None:
    recorded = Recorded(1, preemption=True)
    recorded.now = SECOND
    recorded.submit(task("low", at=SECOND, priority=1, preemptible=True))
    recorded.now = 11 * SECOND
    recorded.submit(task("high", at=11 * SECOND, priority=9))
    recorded.run(recorded.end("low", signal=15, stopped=True))
    recorded.now = 21 * SECOND
    recorded.run(recorded.end("high"))
    recorded.now = 121 * SECOND
    assert recorded.task("low").attempt == 2
    recorded.end("low")
    assert repeats(recorded.what_if(), 3)
    # It runs from 1 s to 101 s, and the urgent one starts then.
    assert recorded.what_if(preemption=False).replayed.waits.p90 == 90


def test_a_period_that_begins_in_the_middle() -> None:
    recorded = Recorded()
    recorded.play(queue(6))
    found = recorded.what_if(since=150 * SECOND)
    assert found.tasks == 4
    assert repeats(found, 2)
    assert waits(found) == (200, 200, 200, 200)


def test_a_period_that_ends_in_the_middle() -> None:
    recorded = Recorded()
    recorded.play(queue(6))
    found = recorded.what_if(until=150 * SECOND)
    assert repeats(found, 4)
    assert found.recorded.not_started == 2
    assert (found.recorded.waits.tasks, round(found.recorded.waits.p90)) == (6, 149)
    assert found.replayed == found.recorded


def test_an_empty_period() -> None:
    found = Recorded().what_if(since=SECOND, until=2 * SECOND)
    assert (found.tasks, found.starts, found.recorded.waits.p90) == (0, 0, 0)
    assert found.recorded.gpus_busy == 0


def test_a_task_that_did_not_run_runs_for_the_median_time() -> None:
    recorded = Recorded(1)
    tasks = queue(2) | {task("last", at=2 * SECOND): 5}
    recorded.play(tasks)
    changes = [change for change in recorded.journal if change[1] < 201 * SECOND]
    recorded.journal = changes
    found = recorded.what_if(gpus=3, until=201 * SECOND)
    [note] = found.notes
    assert note.startswith("1 task that did not run in the period ran in the replay")
    assert found.replayed.not_started == 0
    # Two had a GPU of their own for 100 s; the one that ran at the end of the period, to the end.
    assert found.replayed.gpus_busy == pytest.approx(400 / 3 / 201, abs=0.01)


def test_tasks_that_began_before_the_journal() -> None:
    recorded = Recorded()
    recorded.play(queue())
    # The rows until both GPUs were held are gone.
    recorded.journal = [change for change in recorded.journal if change[1] > 50 * SECOND]
    found = recorded.what_if(since=50 * SECOND)
    assert repeats(found, 2)
    [note] = found.notes
    assert note.startswith("4 tasks began before the oldest change")


def test_gpus_that_became_free_late_do_so_again() -> None:
    recorded = Recorded(1)
    recorded.now = SECOND
    recorded.submit(*(task(name, at=SECOND) for name in "abc"))
    for task_id, late in (("a", 5), ("b", 2)):
        recorded.now += 100 * SECOND
        end = AttemptEnd(recorded.now, started_at=recorded.now, code=0)
        assert recorded.do(Ended(recorded.now, task_id, 1, end)) == []
        assert recorded.do(Collected(recorded.now + 1, task_id, 1)) == []
        recorded.now += late * SECOND
        [started] = recorded.do(GpuChecked(recorded.now, "G0"))
        recorded.run([started])
    found = recorded.what_if()
    assert repeats(found, 3)
    assert found.replayed.waits.p90 == 207


def test_use_before_the_period_counts_for_fair_shares() -> None:
    recorded = Recorded(1)
    recorded.play(
        {
            task("past", user="bob", at=SECOND): 1000,
            task("held", user="eve", at=1005 * SECOND): 100,
            task("older", user="bob", at=1010 * SECOND): 100,
            task("first", user="alice", at=1011 * SECOND): 100,
        }
    )
    assert repeats(recorded.what_if(since=1006 * SECOND), 2)


def test_requests_of_users_are_repeated() -> None:
    recorded = Recorded(1)
    urgent = UpdateRequested(30 * SECOND, "t3", TaskUpdate(priority=9))
    cancel = CancelRequested(20 * SECOND, "t1", User("alice"))
    recorded.play(queue(4), {30 * SECOND: urgent, 20 * SECOND: cancel})
    assert [each.id for _, _, each in recorded.journal if each.status is Status.FAILED] == ["t1"]
    found = recorded.what_if()
    assert repeats(found, 3)
    assert found.replayed == found.recorded
    # With a GPU more it starts at once, and is cancelled while it runs.
    assert recorded.what_if(gpus=2).replayed.waits.tasks == 4


def test_starts_that_do_not_come_back_are_reported() -> None:
    recorded = Recorded(user_gpus=1)
    recorded.play(queue())
    recorded.state.limits = replace(recorded.state.limits, user_gpus=0)  # Since then.
    found = recorded.what_if()
    assert (found.starts, found.same_starts) == (4, 1)
    assert found.notes[0].startswith("With nothing changed, 3 starts")
    assert "differ from the recorded ones by 1 s or more" in found.notes[0]


def test_a_period_with_too_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "MOST_TASKS", 3)
    recorded = Recorded()
    recorded.play(queue(3))
    recorded.what_if()
    recorded.play({task("more", at=recorded.now + 1): 1})
    with pytest.raises(TooManyTasks, match="choose a shorter one"):
        recorded.what_if()
