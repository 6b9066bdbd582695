"""Counts the jobs of ready tasks that may share GPUs."""

from collections import Counter

from fetchml.core.packing.peaks import MOST, MOST_OF_USER, Job


class WaitingJobs:
    """The scheduler looks at a sub-queue for each job, so that their number is bounded like that of
    the known jobs."""

    def __init__(self) -> None:
        self._shapes: Counter[Job] = Counter()
        """Number of shapes by job."""
        self._of_user: Counter[str] = Counter()
        """Number of jobs by user."""

    def copy(self) -> "WaitingJobs":
        other = WaitingJobs()
        other._shapes = Counter(self._shapes)
        other._of_user = Counter(self._of_user)
        return other

    def takes(self, job: Job) -> bool:
        """Return whether ready tasks of the job may have sub-queues of their own."""
        if job in self._shapes:
            return True
        return len(self._shapes) < MOST and self._of_user[job[0]] < MOST_OF_USER

    def add(self, job: Job | None) -> None:
        """Count a shape; `None`: one of no job."""
        if job is not None:
            self._of_user[job[0]] += job not in self._shapes
            self._shapes[job] += 1

    def remove(self, job: Job | None) -> None:
        """Forget a shape that `add` has counted."""
        if job is None:
            return
        self._shapes[job] -= 1
        if not self._shapes[job]:
            del self._shapes[job]
            self._of_user[job[0]] -= 1
            if not self._of_user[job[0]]:
                del self._of_user[job[0]]
