"""Which decisions have notices of which tasks."""

from fetchml.core.events import CancelRequested, Collected, Decision, Ended, Event
from fetchml.core.lifecycle import change, raise_notice
from fetchml.core.model import AttemptEnd, EventKind, Status, SweepMember, User
from tests.core.host import Host
from tests.support import tasks


class Watched(Host):
    """A host that remembers the notices."""

    def do(self, event: Event) -> list[str]:
        if not hasattr(self, "notices"):
            self.notices = list[tuple[str, str]]()
        started = super().do(event)
        for notice in self.last.notices:
            kind = "sweep" if notice.ends_sweep else str(notice.kind)
            self.notices.append((kind, notice.task.id))
            assert notice.task in self.last.changes
        return started


def test_start_and_end_have_one_each() -> None:
    host = Watched()
    host.submit(tasks.task("a"), tasks.task("b"))
    for task_id, code in (("a", 0), ("b", 1)):
        host.end(task_id, code=code)
    assert host.notices == [
        ("started", "a"),
        ("started", "b"),
        ("completed", "a"),
        ("failed", "b"),
    ]


def test_retry_is_no_end_and_starts_again() -> None:
    host = Watched()
    host.submit(tasks.task("a", max_retries=1))
    host.end("a", code=1)
    assert host.notices == [("started", "a")]


def test_cancelled_task_has_failed() -> None:
    host = Watched()
    host.submit(tasks.task("a", hold=True))
    host.do(CancelRequested(host.now, "a", User("alice")))
    assert host.notices == [("failed", "a")]


def test_preemption_has_one_when_the_task_waits_again() -> None:
    host = Watched(gpus=1, preemption=True)
    host.submit(tasks.task("a", gpu=1, preemptible=True, priority=1))
    host.submit(tasks.task("urgent", gpu=1, priority=9))
    assert host.notices == [("started", "a")]
    attempt = host.task("a").attempt
    end = AttemptEnd(host.now, started_at=host.now, signal=15, stopped=True)
    host.do(Ended(host.now, "a", attempt, end))
    host.do(Collected(host.now, "a", attempt))
    assert host.task("a").status is not Status.FAILED
    assert ("preempted", "a") in host.notices


def test_sweep_ends_once_with_its_last_task() -> None:
    host = Watched()
    members = [SweepMember("s", index, {"lr": str(index)}) for index in range(3)]
    host.submit(*(tasks.task(f"t{each.index}", sweep=each) for each in members))
    for index, code in ((1, 1), (0, 0), (2, 0)):
        host.end(f"t{index}", code=code)
    assert [kind for kind, _ in host.notices] == ["started"] * 3 + ["sweep"]
    assert host.notices[-1] == ("sweep", "t2")
    assert len(host.state.progress) == 0


def test_service_has_none() -> None:
    host = Watched()
    host.submit(tasks.task("a", service=True))
    host.end("a")
    assert host.notices == []


def test_idle_detection_raises_its_own() -> None:
    host = Watched()
    host.submit(tasks.task("a"))
    decision = Decision()
    raise_notice(decision, change(host.state, decision, host.task("a")), EventKind.IDLE)
    [notice] = decision.notices
    assert (notice.kind, notice.task.id) == (EventKind.IDLE, "a")
