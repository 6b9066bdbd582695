"""The end of an attempt: the shim's record, and what the launcher adds to it."""

from msgspec.structs import replace

from fetchml.core.model import AttemptEnd
from fetchml.core.verdict import may_be_from_outside
from fetchml.files.records.begin import StartRecord
from fetchml.ports.launcher import AttemptExit

NO_RECORD = "the attempt disappeared without an exit record"


def end_of(
    recorded: AttemptEnd | None, started: StartRecord | None, seen: AttemptExit, now: int
) -> AttemptEnd:
    """`recorded`: `None` if the shim could not record the end. `seen`: what the launcher saw, which
    may be older than the record: only an end by a signal can have a cause outside of the task."""
    if recorded is None:
        started_at = started.at if started is not None else None
        end = AttemptEnd(at=now, started_at=started_at, lost=seen.lost or NO_RECORD)
    elif may_be_from_outside(recorded):
        end = replace(recorded, lost=seen.lost)
    else:
        return replace(recorded, out_of_memory=recorded.out_of_memory or seen.out_of_memory)
    return replace(
        end,
        out_of_memory=end.out_of_memory or seen.out_of_memory,
        timed_out=end.timed_out or seen.timed_out,
        no_image=recorded is None and started is None and seen.no_image,
    )
