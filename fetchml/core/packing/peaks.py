"""Peaks of GPU memory, learned from the attempts of each user and job name.

A peak is the most memory (MiB) that an attempt used on any one of its GPUs. The expected peak is
the highest of the newest ones: a job that grows is believed at once, one that shrinks after KEPT
attempts.
A job belongs to one user, so that no user's tasks teach anything about those of another.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

KEPT = 10
"""Newest peaks of a job."""
MOST_OF_USER = 200
"""Jobs of one user; the one that was learned longest ago is forgotten first."""
MOST = 2_000
"""Jobs of all users. Beyond that the user with the most loses one."""

Job = tuple[str, str]
"""User and job name."""


class _Known(NamedTuple):
    peak: int
    """The highest of `peaks`."""
    peaks: tuple[int, ...]


class LearnedPeaks:
    def __init__(self, known: Iterable[tuple[Job, tuple[int, ...]]] = ()) -> None:
        """`known`: a result of `dump`."""
        self._jobs: dict[Job, _Known] = {}
        self._of_user: Counter[str] = Counter()
        self.changed: set[Job] = set()
        """Jobs whose peaks differ from what is stored, forgotten ones included."""
        for job, peaks in known:
            self._set(job, peaks[-KEPT:])
        # What exceeds the bounds is in the store still: a killed server may have left it there.
        self.changed.difference_update(self._jobs)

    def copy(self) -> "LearnedPeaks":
        other = LearnedPeaks()
        other._jobs = dict(self._jobs)
        other._of_user = Counter(self._of_user)
        return other

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job: Job) -> int | None:
        """The expected peak in MiB; `None` if the job is not known."""
        known = self._jobs.get(job)
        return None if known is None else known.peak

    def peaks(self, job: Job) -> tuple[int, ...]:
        """The newest peaks, the oldest first; empty if the job is not known."""
        known = self._jobs.get(job)
        return () if known is None else known.peaks

    def dump(self) -> list[tuple[Job, tuple[int, ...]]]:
        """All jobs with their peaks, the job that was learned longest ago first."""
        return [(job, known.peaks) for job, known in self._jobs.items()]

    def learn(self, job: Job, peak: int) -> None:
        """Add the peak of an attempt."""
        self._set(job, (*self.peaks(job), peak)[-KEPT:])

    def exceed(self, job: Job, peak: int) -> None:
        """Note that an attempt of a known job uses this much, before it has ended."""
        known = self._jobs.get(job)
        if known is not None and peak > known.peak:
            self._set(job, (*known.peaks[:-1], peak))

    def _set(self, job: Job, peaks: tuple[int, ...]) -> None:
        if self._jobs.pop(job, None) is None:
            self._of_user[job[0]] += 1
        self._jobs[job] = _Known(max(peaks), peaks)
        self.changed.add(job)
        if self._of_user[job[0]] > MOST_OF_USER:
            self._forget_one(job[0])
        elif len(self._jobs) > MOST:
            self._forget_one(self._of_user.most_common(1)[0][0])

    def _forget_one(self, user: str) -> None:
        oldest = next(job for job in self._jobs if job[0] == user)
        del self._jobs[oldest]
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]
        self.changed.add(oldest)
