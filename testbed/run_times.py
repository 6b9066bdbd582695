"""Run times that a test or a benchmark gives the estimates."""

from dataclasses import dataclass

from fetchml.core.model import Resources, Task
from fetchml.core.scheduling.estimate import UNKNOWN_MS, Durations


@dataclass(frozen=True, slots=True)
class History:
    """Run times of ended tasks, from the most similar ones that there are."""

    of_name: dict[tuple[str, str], Durations]
    """By user and `job_name`."""
    of_shape: dict[Resources, Durations]
    of_all: Durations = UNKNOWN_MS

    def __call__(self, task: Task) -> Durations:
        spec = task.spec
        named = self.of_name.get((task.user, spec.job_name))
        return named or self.of_shape.get(spec.resources) or self.of_all
