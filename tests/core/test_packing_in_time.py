"""Packing by learned peaks of GPU memory: properties in simulated time."""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchml.core.bookings.booking import Booking
from fetchml.core.events import (
    BookingsChanged,
    CancelRequested,
    Collected,
    Ended,
    GpuChecked,
    GpuDrained,
    GpuMemoryExhausted,
    GpuMemoryUsed,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    Started,
    TimePassed,
)
from fetchml.core.gpus.allocator import GpuMemory
from fetchml.core.model import AttemptEnd, Task, User
from tests.core.host import RESERVE_MS, Host
from tests.core.packing_host import GIB, MEMORY, READING_MS, RULE, host, learned, of

JOBS = st.fixed_dictionaries({name: st.integers(0, 100) for name in ("u", "v", "w")})
"""The true peak of each job, in GiB."""
TASKS = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob"]),
        st.sampled_from(["u", "v", "w"]),
        st.integers(0, 2),
        st.integers(1, 40),
        st.integers(0, 60),
        st.integers(4, 6),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)
KNOWN = st.fixed_dictionaries(
    {}, optional={(user, name): st.integers(0, 70) for user in ("alice", "bob") for name in "uvw"}
)
"""What was learned before, in GiB; more or less than the truth."""
FILLER = "filler"
LIMITS = st.fixed_dictionaries(
    {
        "slots": st.integers(1, 3),
        "placement": st.sampled_from(["fill", "spread"]),
        "prestage": st.booleans(),
        "preemption": st.booleans(),
        "user_gpus": st.integers(0, 2),
    }
)
DISTURBANCES = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from(["restart", "drain", "book", "cancel", "full"])),
    max_size=4,
)
"""Seconds after the begin, and what happens then."""
DISTURBED_MS = 60_000
"""How long a GPU is drained or booked."""


class Simulation:
    """Tasks that come, use memory, and end; their memory is read every two seconds."""

    def __init__(self, box: Host, true_peaks: dict[str, int], *, fills: bool = False) -> None:
        """`fills`: small packed tasks of low priority come for as long as others wait."""
        self.box = box
        self._fills = fills
        self.started: list[tuple[int, str, tuple[str, ...]]] = []
        self._peaks = true_peaks
        self._coming: list[tuple[int, int, str, Any]] = []
        self._number = 0
        self._seen: set[tuple[str, int]] = set()
        self._bookings: list[Booking] = []
        self.cancelled: set[str] = set()

    def run(self, drawn: list[Any], disturbances: Iterable[tuple[int, str]] = ()) -> None:
        lengths = {}
        for at, what in disturbances:
            self._at(1 + at * 1000, what, None)
        for number, (user, job, gpu, runs, at, priority, fails) in enumerate(drawn):
            spec = {"gpu": gpu, "priority": priority, "preemptible": fails}
            self._at(
                1 + at * 1000, "submit", of(f"t{number}", job, user=user, at=number + 1, **spec)
            )
            lengths[f"t{number}"] = runs * 1000, fails
        self._lengths = lengths
        box = self.box
        # Each may wait for its time and for all before it to run.
        limit = 2 * RESERVE_MS * (len(drawn) + 1)
        while self._coming or box.state.tasks:
            self._fill()
            due, ticks = box.last.next_due, box.now + READING_MS
            soonest = min([ticks, *(c[0] for c in self._coming[:1]), *([due] if due else [])])
            assert soonest < limit, [box.reason(task_id) for task_id in box.state.tasks]
            box.now = max(box.now, soonest)
            if self._coming and self._coming[0][0] <= soonest:
                _, _, what, value = heappop(self._coming)
                self._do(what, value)
            elif due is not None and due <= soonest:
                box.do(TimePassed(due, due))
            else:
                self._read()
            self._look()

    def _fill(self) -> None:
        waiting = [one for one in self.box.state.tasks.values() if one.status == "queued"]
        if self._fills and waiting and all(one.user != FILLER for one in waiting):
            self._number += 1
            name = f"fill{self._number}"
            self._lengths[name] = 15_000, False
            filler = of(name, FILLER, user=FILLER, at=self.box.now + 1, priority=4)
            self.box.submit(filler)
            self._look()

    def _do(self, what: str, value: Any) -> None:
        box = self.box
        if what == "submit":
            box.submit(value)
        elif what == "end":
            self._end(*value)
        elif what == "restart":
            box.restart()
            box.do(BookingsChanged(box.now, self._bookings))
            box.do(GpusSeen(box.now, box.gpus))
            box.do(LauncherChanged(box.now, available=True))
        elif what in ("drain", "undrain"):
            box.do(GpuDrained(box.now, "G0", "root" if what == "drain" else None))
            if what == "drain":
                self._at(box.now + DISTURBED_MS, "undrain", None)
        elif what == "book":
            end = box.now + DISTURBED_MS
            made = Booking(f"b{box.now}", "alice", ("G1",), box.now, end, box.now, "root")
            self._bookings = [made]
            box.do(BookingsChanged(box.now, self._bookings))
        elif what == "cancel":
            for task_id in list(box.state.tasks)[-1:]:
                self.cancelled.add(task_id)
                box.do(CancelRequested(box.now, task_id, User("root")))
                if task_id in box.state.held:
                    self._at(box.now, "end", (task_id, box.task(task_id).attempt))
        else:
            self._run_out_of_memory()

    def _run_out_of_memory(self) -> None:
        """Of a task beside others."""
        box = self.box
        shared = sorted(box.state.packing.shared) if box.state.packing is not None else []
        for task_id in shared[:1]:
            one = box.task(task_id)
            if one.status != "running" or one.halt is not None or one.cancel is not None:
                continue
            end = AttemptEnd(at=box.now, started_at=one.started_at, code=1)
            box.do(Ended(box.now, task_id, one.attempt, end))
            for uuid in one.gpu_uuids:
                box.do(GpuChecked(box.now, uuid))
            box.do(GpuMemoryExhausted(box.now, task_id, one.attempt))
            box.do(Collected(box.now, task_id, one.attempt))
            assert task_id in box.state.tasks, "it is tried again"

    def _end(self, task_id: str, attempt: int) -> None:
        box = self.box
        one = box.state.tasks.get(task_id)
        if one is None or one.attempt != attempt or task_id not in box.state.held:
            return
        stopped = one.halt is not None
        box.end(task_id, **({"signal": 15, "stopped": True} if stopped else {"code": 0}))

    def _read(self) -> None:
        box = self.box
        use = []
        for uuid, holders in box.state.gpus.holders.items():
            by_task = {
                each: self._peaks.get(box.task(each).spec.job_name, 1) * GIB for each in holders
            }
            use.append(GpuMemory(uuid, by_task))
        box.do(GpuMemoryUsed(box.now, use))

    def _look(self) -> None:
        box = self.box
        while self._report():
            pass
        for task_id in list(box.state.held):
            one = box.task(task_id)
            if one.halt is not None:
                self._at(box.now, "end", (task_id, one.attempt))

    def _report(self) -> bool:
        """Report a start or a discarded attempt, with which more tasks may start; false if there
        is none."""
        box = self.box
        for one in map(box.task, box.state.held):
            if (one.id, one.attempt) not in self._seen:
                self._see(one)
                return True
        for one in box.state.tasks.values():
            if one.prestaged and one not in box.state.prestaged():
                box.do(NeverStarted(box.now, one.id, one.attempt))
                return True
        return False

    def _see(self, one: Task) -> None:
        box = self.box
        self._seen.add((one.id, one.attempt))
        self.started.append((box.now, one.id, one.gpu_uuids))
        closed = box.state.bookings.closed_to_task(one, box.now)
        assert closed.isdisjoint(one.gpu_uuids), "the GPU is reserved"
        assert box.state.gpus.drained.keys().isdisjoint(one.gpu_uuids), "it is drained"
        if one.status == "preparing":
            box.do(Started(box.now, one.id, one.attempt, box.now))
        self._at(box.now + self._lengths[one.id][0], "end", (one.id, one.attempt))

    def _at(self, when: int, what: str, value: Any) -> None:
        self._number += 1
        heappush(self._coming, (when, self._number, what, value))


@given(
    true_peaks=JOBS,
    known=KNOWN,
    drawn=TASKS,
    disturbances=DISTURBANCES,
    limits=LIMITS,
)
def test_never_more_learned_peak_than_memory_and_none_waits_for_ever(
    true_peaks: dict[str, int],
    known: dict[tuple[str, str], int],
    drawn: list[Any],
    disturbances: list[tuple[int, str]],
    limits: dict[str, Any],
) -> None:
    """`Host.do` checks the invariants after every step, and the GPUs that tasks have joined."""
    box = host(2, **limits)
    quota = limits["user_gpus"]
    drawn = [(user, job, min(gpu, quota or gpu), *rest) for user, job, gpu, *rest in drawn]
    for job, peak in known.items():
        learned(box).learn(job, peak * GIB)
    simulation = Simulation(box, true_peaks)
    simulation.run(drawn, disturbances)
    started = {task_id for _, task_id, _ in simulation.started}
    assert started | simulation.cancelled == {f"t{n}" for n in range(len(drawn))}


@pytest.mark.slow
@given(true_peaks=JOBS, drawn=TASKS, prestage=st.booleans(), preempts=st.booleans())
def test_no_task_starves_among_packed_ones(
    true_peaks: dict[str, int], drawn: list[Any], prestage: bool, preempts: bool
) -> None:
    box = host(2, slots=2, prestage=prestage, preemption=preempts)
    learned(box).learn((FILLER, FILLER), GIB)
    drawn = [(*each[:5], 5, each[6]) for each in drawn]
    simulation = Simulation(box, true_peaks, fills=True)
    simulation.run(drawn)
    started = {task_id for _, task_id, _ in simulation.started}
    assert {f"t{n}" for n in range(len(drawn))} <= started


@given(drawn=TASKS, prestage=st.booleans(), preempts=st.booleans())
def test_packing_changes_nothing_where_no_gpu_is_shared(
    drawn: list[Any], prestage: bool, preempts: bool
) -> None:
    found = []
    for rule in (None, RULE):
        box = Host(
            2,
            memory_mb=MEMORY,
            slots_per_gpu=1,
            packing=rule,
            prestage=prestage,
            preemption=preempts,
        )
        simulation = Simulation(box, {"u": 1, "v": 50, "w": 90})
        simulation.run(drawn)
        found.append(simulation.started)
    assert found[0] == found[1]
