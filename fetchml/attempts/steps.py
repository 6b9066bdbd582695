"""The steps of a preparation, as users read them."""

from collections.abc import Callable

from fetchml.core.events import Event, Progressed
from fetchml.core.model import Task
from fetchml.core.requests import text


class Steps:
    """Reports each step of one attempt's preparation once: every report is a durable change."""

    def __init__(
        self, task: Task, clock: Callable[[], int], report: Callable[[Event], object]
    ) -> None:
        self._task = task
        self._clock = clock
        self._report = report
        self._last = task.progress

    def __call__(self, sentence: str) -> None:
        shown = text.shown(sentence, text.MAX_MESSAGE)
        if shown != self._last:
            self._last = shown
            self._report(Progressed(self._clock(), self._task.id, self._task.attempt, shown))
