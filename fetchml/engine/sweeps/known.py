"""The records of all sweeps, with the numbers of their tasks."""

from typing import NamedTuple

from fetchml.core import permissions
from fetchml.core.model import Principal
from fetchml.core.sweeps.model import Sweep
from fetchml.engine.sweeps.counts import SweepCounts
from fetchml.ports.store import StoredState
from fetchml.records import Documents, RecordSet

KIND = "sweep"


class KnownSweeps(NamedTuple):
    """All sweeps, oldest first, and the numbers of their tasks."""

    records: RecordSet[Sweep]
    counts: SweepCounts

    @classmethod
    async def load(cls, store: Documents, restored: StoredState) -> "KnownSweeps":
        """Read them from the open store."""
        records = RecordSet(store, KIND, Sweep, lambda each: each.id)
        await records.load()
        return cls(records, SweepCounts(restored))

    def find(self, who: Principal, sweep_id: str, *, private: bool) -> Sweep | None:
        """Return a sweep that the caller may see. `private`: users see only their own."""
        found = self.records.get(sweep_id)
        if found is None or not permissions.may_see(who, found, private=private):
            return None
        return found

    def deleted(self, sweep: Sweep) -> int:
        """Number of its tasks that were deleted."""
        return max(0, sweep.total - sum(self.counts.of(sweep.id).values()))
