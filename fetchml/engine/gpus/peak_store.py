"""The learned peaks of GPU memory, kept over restarts: a record for each job.

Saved every few seconds, as far as they have changed. What a killed server had learned since is
learned again: until then such a job gets GPUs of its own, or counts with its older peak.
"""

from collections.abc import Callable
from hashlib import sha256

import msgspec

from fetchml.core.packing import Job
from fetchml.core.state import State
from fetchml.ports.store import Store

KIND = "gpu-peak"
SAVE_SECONDS = 10.0


class StoredPeaks(msgspec.Struct, frozen=True):
    """The record of a job."""

    user: str
    job_name: str
    peaks: tuple[int, ...]
    """MiB, the oldest first."""
    at: int
    """When it was saved, in milliseconds since the epoch (UTC)."""


async def load_peaks(store: Store) -> list[tuple[Job, tuple[int, ...]]]:
    """Return all stored peaks, the job that was learned longest ago first."""
    documents = await store.list_documents(KIND)
    found = [msgspec.json.decode(document, type=StoredPeaks) for document in documents]
    found.sort(key=lambda each: each.at)
    return [((each.user, each.job_name), each.peaks) for each in found if each.peaks]


class PeakStore:
    def __init__(self, store: Store, state: State, clock: Callable[[], int]) -> None:
        self._store = store
        self._state = state
        self._clock = clock

    async def save(self) -> None:
        """Durable on return."""
        packing = self._state.packing
        if packing is None:
            return
        known = packing.peaks
        for job in list(known.changed):
            known.changed.discard(job)
            try:
                await self._save(job, known.peaks(job))
            except BaseException:
                known.changed.add(job)
                raise

    async def _save(self, job: Job, peaks: tuple[int, ...]) -> None:
        document_id = sha256(msgspec.json.encode(job)).hexdigest()
        if peaks:
            data = msgspec.json.encode(StoredPeaks(*job, peaks, self._clock()))
            await self._store.put_document(KIND, document_id, data)
        else:
            await self._store.delete_document(KIND, document_id)
