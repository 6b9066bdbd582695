"""Idle GPUs: labelled traces of tasks, and properties of any trace."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fetchml.core.events import GpusUsed, Manner, StopAttempt
from fetchml.core.gpus.allocator import UNOWNED, Utilisation, busiest
from fetchml.core.gpus.events import IDLE_GAP_MS
from fetchml.core.model import Task
from fetchml.core.scheduling.resources import IdleRule
from fetchml.core.usage import SAMPLE_MS
from tests.core.host import Host, task

SECOND = 1000
MINUTE = 60 * SECOND
RULE = IdleRule(percent=5, idle_ms=30 * MINUTE, start_ms=10 * MINUTE, warning_ms=10 * MINUTE)
REPORT = IdleRule(percent=5, idle_ms=30 * MINUTE, start_ms=10 * MINUTE, warning_ms=None)


class Part(NamedTuple):
    """A part of a trace."""

    minutes: float
    percent: int | None
    """Use in each sample; `None`: no samples."""


class Away(NamedTuple):
    """The server restarts, and is away so long."""

    minutes: float


Trace = Sequence[Part | Away]
TRAINS = Part(30, 93)
HANGS = Part(80, 0)


def epochs(count: int, pause: Part) -> list[Part]:
    return [each for _ in range(count) for each in (Part(20, 88), pause)]


# Name, trace, whether it is reported as idle at its end, whether it is stopped.
TRACES: list[tuple[str, Trace, bool, bool]] = [
    ("training", [Part(300, 97)], False, False),
    ("waits for data between batches", [Part(0.5, 0), Part(0.2, 60)] * 200, False, False),
    ("little use, but some", [Part(300, 5)], False, False),
    ("evaluates on the CPU after each epoch", epochs(6, Part(25, 0)), False, False),
    ("writes large checkpoints", epochs(8, Part(12, 1)), False, False),
    ("compiles for long, then trains", [Part(9, 0), Part(25, 2), TRAINS], False, False),
    ("downloads for longer than the start", [Part(38, 0), TRAINS], False, False),
    ("one batch just in time", [Part(39.5, 0), Part(0.5, 40), Part(29, 0)], False, False),
    ("hung process", [TRAINS, HANGS], True, True),
    ("hung from its start", [HANGS], True, True),
    ("finished notebook", [TRAINS, Part(3, 4), Part(90, 0)], True, True),
    ("background noise below the limit", [Part(90, 4)], True, True),
    ("reported, not yet stopped", [TRAINS, Part(35, 0)], True, False),
    ("goes on after the report", [TRAINS, Part(35, 0), TRAINS], False, False),
    ("reported twice", [TRAINS, Part(35, 0), Part(1, 50), Part(35, 0)], True, False),
    ("no samples at all", [Part(300, None)], False, False),
    ("driver away in the pause", [TRAINS, Part(29, 0), Part(99, None), Part(29, 0)], False, False),
    ("driver away, then it hangs on", [Part(39, 0), Part(60, None), Part(41, 0)], True, True),
    ("one sample is missing", [TRAINS, Part(20, 0), Part(0.3, None), Part(12, 0)], True, False),
    ("restart while it trains", [TRAINS, Away(5), TRAINS], False, False),
    ("restart in a pause", [TRAINS, Part(20, 0), Away(15), Part(20, 0), TRAINS], False, False),
    ("restart while it hangs", [TRAINS, Part(20, 0), Away(1), Part(31, 0)], True, False),
    ("restart in the warning", [TRAINS, Part(35, 0), Away(1), Part(35, 0)], True, False),
    ("hangs after a restart", [TRAINS, Part(35, 0), Away(1), Part(41, 0)], True, True),
]  # fmt: skip


class Bench:
    """One task on a GPU, and what is found about it."""

    by_nodes = False
    """Whether its own node reports its use, as on a cluster."""

    def __init__(self, rule: IdleRule = RULE, **spec: Any) -> None:
        self.host = Host(gpus=1, idle=rule)
        self.host.now = 1_760_000_000_000
        self.began = self.host.now
        self.reported_at: list[int] = []
        self.stopped_at: int | None = None
        self.manner: Manner | None = None
        self.host.submit(task("a", **spec))

    @property
    def task(self) -> Task:
        return self.host.task("a")

    def play(self, trace: Trace) -> None:
        for part in trace:
            until = self.host.now + round(part.minutes * MINUTE)
            if isinstance(part, Away):
                self.host.now = until
                self.host.restart()
                continue
            while self.host.now < until and self.stopped_at is None:
                self.host.now += SAMPLE_MS
                self.sample(part.percent)

    def sample(self, percent: int | None) -> None:
        before = self.task.idle_since
        if percent is None:
            self.host.do(GpusUsed(self.host.now))
        elif self.by_nodes:
            self.host.do(GpusUsed(self.host.now, tasks={"a": percent, "unknown": 0}))
        else:
            self.host.do(GpusUsed(self.host.now, [Utilisation("G0", percent)]))
        if before is None and self.task.idle_since is not None:
            self.reported_at.append(self.host.now)
        for effect in self.host.last.effects:
            if isinstance(effect, StopAttempt):
                self.stopped_at, self.manner = self.host.now, effect.manner


@pytest.mark.parametrize(
    ("trace", "idle", "stopped"), [each[1:] for each in TRACES], ids=[each[0] for each in TRACES]
)
def test_labelled_trace(trace: Trace, idle: bool, stopped: bool) -> None:
    bench = Bench()
    bench.play(trace)
    assert (bench.task.idle_since is not None, bench.stopped_at is not None) == (idle, stopped)


def test_use_that_a_node_reports_counts_alike() -> None:
    bench = Bench()
    bench.by_nodes = True
    bench.play([TRAINS, HANGS])
    assert bench.stopped_at is not None


PARTS = st.one_of(
    st.builds(
        Part,
        st.sampled_from([0.2, 1, 5, 9, 11, 29, 31, 41, 60]),
        st.sampled_from([0, 4, 5, 90, None]),
    ),
    st.builds(Away, st.sampled_from([0.1, 1, 45])),
)


@given(trace=st.lists(PARTS, max_size=8))
def test_stop_follows_quiet_samples_without_a_gap(trace: list[Part | Away]) -> None:
    """No false report or stop, and none is late: told by the samples alone, in another way."""
    bench = Bench()
    quiet: list[int] = []
    for part in trace:
        if isinstance(part, Away):
            bench.play([part])
            quiet = []
            continue
        for _ in range(round(part.minutes * MINUTE / SAMPLE_MS)):
            if bench.stopped_at is not None:
                return
            bench.host.now += SAMPLE_MS
            now = bench.host.now
            bench.sample(part.percent)
            if part.percent is not None:
                if quiet and now - quiet[-1] > IDLE_GAP_MS:
                    quiet = []
                is_late = now >= bench.began + RULE.start_ms
                quiet = [*quiet, now] if part.percent < RULE.percent and is_late else []
            lasted = quiet[-1] - quiet[0] if quiet else 0
            was_quiet_now = bool(quiet) and quiet[-1] == now
            full = RULE.idle_ms + (RULE.warning_ms or 0)
            assert (bench.stopped_at is not None) == (was_quiet_now and lasted >= full)
            if was_quiet_now and lasted >= RULE.idle_ms:
                assert bench.task.idle_since is not None, "it is found within its window"
            if bench.reported_at and bench.reported_at[-1] == now:
                assert lasted >= RULE.idle_ms
                assert bench.task.idle_since == quiet[0]
            if part.percent is not None and part.percent >= RULE.percent:
                assert bench.task.idle_since is None


@pytest.mark.parametrize(
    ("spec", "end", "manner"),
    [
        ({}, {"code": 0, "stopped": True}, Manner.TERMINATE),
        ({"warn_seconds": 30}, {"code": 0}, Manner.WARN),
        ({"warn_seconds": 30}, {"signal": 10}, Manner.WARN),
        ({"max_retries": 3}, {"signal": 15, "stopped": True}, Manner.TERMINATE),
        ({}, {"signal": 9, "stopped": True}, Manner.TERMINATE),
        ({}, {"lost": "the shim did not end it"}, Manner.TERMINATE),
    ],
)
def test_stopped_task_fails_as_idle(
    spec: dict[str, Any], end: dict[str, object], manner: Manner
) -> None:
    bench = Bench(**spec)
    bench.play([TRAINS, HANGS])
    assert bench.manner is manner
    bench.host.end("a", **end)
    ended = bench.host.last.changes[-1]
    assert (ended.status, ended.failure_reason, ended.idle_since) == ("failed", "IDLE", None)
    assert ended.error == (
        "its GPUs were idle for 2400 s: less than 5 % of them was used since 2025-10-09 "
        "09:23:30 UTC"
    )


@pytest.mark.parametrize(
    ("end", "reason"), [({"code": 0}, None), ({"code": 1}, "EXIT_CODE"), ({"signal": 11}, "SIGNAL")]
)
def test_task_that_ended_by_itself_just_before_keeps_its_end(
    end: dict[str, object], reason: str | None
) -> None:
    bench = Bench()
    bench.play([HANGS])
    bench.host.end("a", **end)
    assert bench.host.last.changes[-1].failure_reason == reason


def test_stop_survives_a_restart() -> None:
    bench = Bench()
    bench.play([HANGS])
    bench.host.restart()
    assert bench.host.of(StopAttempt) == ["a"]
    bench.host.end("a", code=0, stopped=True)
    assert bench.host.last.changes[-1].failure_reason == "IDLE"


def test_explanation_has_the_coming_action() -> None:
    bench = Bench()
    bench.play([TRAINS, Part(31, 0)])
    assert bench.host.reason("a") == (
        "It runs on box. Its GPUs are idle since 2025-10-09 09:23:30 UTC: it is stopped if they "
        "stay so for 2400 s in all."
    )
    bench.play([Part(15, 0)])
    assert bench.host.reason("a") == (
        "It is being ended: its GPUs were idle for 2400 s: less than 5 % of them was used since "
        "2025-10-09 09:23:30 UTC."
    )


def test_service_is_reported_and_not_stopped() -> None:
    bench = Bench()
    bench.host.state.tasks["a"] = replace(bench.task, service=True)
    bench.play([HANGS])
    assert (bench.task.idle_since is not None, bench.stopped_at) == (True, None)


def test_next_attempt_begins_again() -> None:
    bench = Bench(max_retries=1)
    bench.play([TRAINS, Part(29, 0)])
    bench.host.end("a", code=1)
    assert bench.host.state.quiet.keys() == {"a"}
    bench.host.now += 2 * MINUTE
    bench.sample(0)
    assert bench.host.state.quiet == {}
    assert bench.task.idle_since is None


@pytest.mark.parametrize(
    ("holders", "by_task", "expected"),
    [
        (["a"], None, 60),
        (["a"], {"a": 2, "b": 60}, 60),
        (["a", "b"], None, 60),
        (["a", "b"], {"b": 60}, 0),
        (["a", "b"], {"a": 2, "b": 60}, 2),
        (["a", "b"], {"b": 60, UNOWNED: 7}, 7),
    ],
)
def test_shared_gpu_counts_own_use_where_the_driver_reports_it(
    holders: list[str], by_task: dict[str, int] | None, expected: int
) -> None:
    one = replace(task("a"), gpu_uuids=("G0",))
    assert busiest(one, {"G0": Utilisation("G0", 60, by_task)}, {"G0": holders}) == expected


def test_task_on_two_gpus_uses_both_or_one() -> None:
    two = replace(task("a"), gpu_uuids=("G0", "G1"))
    uses = {"G0": Utilisation("G0", 0), "G1": Utilisation("G1", 70)}
    assert busiest(two, uses, {}) == 70
    assert busiest(two, {"G0": uses["G0"]}, {}) is None, "one could not be read"


def test_idle_task_raises_one_notice() -> None:
    host = Host(gpus=1, idle=REPORT)
    host.submit(task("a", gpu=1))
    kinds = list[str]()
    for _ in range(2 * REPORT.idle_ms // SAMPLE_MS):
        host.now += SAMPLE_MS
        host.do(GpusUsed(host.now, [Utilisation("G0", 0)]))
        kinds += [str(each.kind) for each in host.last.notices]
    assert kinds == ["idle"]
