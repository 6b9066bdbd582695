"""The GPU memory that one decision can still give to further tasks."""

from collections.abc import Iterable, Mapping


class GpuRoom:
    """A task fits on an empty GPU whatever its peak is. It fits beside others if its peak and all
    of theirs are known, and their sum is at most the GPU's memory without the margin."""

    __slots__ = ("_held", "_memory_mb")

    def __init__(
        self, memory_mb: Mapping[str, int], held: Mapping[str, Mapping[str, int | None]]
    ) -> None:
        """`memory_mb`: of the GPUs, without the margin. `held`: the learned peaks of the tasks on
        them, in MiB, by their ids; `None` if one is not known."""
        self._memory_mb = memory_mb
        self._held = {uuid: dict(peaks) for uuid, peaks in held.items()}

    def copy(self) -> "GpuRoom":
        return GpuRoom(self._memory_mb, self._held)

    def left(self, uuid: str) -> int | None:
        """MiB for one more task on a GPU that tasks hold; 0 if there is room for none. `None` if no
        task holds it."""
        if not (peaks := self._held.get(uuid)):
            return None
        known = [peak for peak in peaks.values() if peak is not None]
        return max(0, self._beside(uuid, known)) if len(known) == len(peaks) else 0

    def fits(self, uuid: str, peak: int | None) -> bool:
        """Whether a task with this peak fits; `None`: the peak is not known."""
        if not (peaks := self._held.get(uuid)):
            return True
        known = [each for each in peaks.values() if each is not None]
        if peak is None or len(known) < len(peaks):
            return False
        return peak <= self._beside(uuid, known)

    def _beside(self, uuid: str, peaks: Iterable[int]) -> int:
        """MiB beside these; negative if one of them alone is too much."""
        return self._memory_mb.get(uuid, 0) - sum(peaks)

    def take(self, uuid: str, task_id: str, peak: int | None) -> None:
        self._held.setdefault(uuid, {})[task_id] = peak

    def release(self, uuid: str, task_id: str) -> None:
        self._held.get(uuid, {}).pop(task_id, None)
