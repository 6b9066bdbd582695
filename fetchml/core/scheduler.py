"""Which waiting task starts next.

The most urgent first, among equals the oldest. A smaller task may pass a larger one that is
blocked (backfill), until the blocked one has waited `reserve_after`: from then on what becomes
free of the resources that it asks for is kept for it, so nobody starves.
"""

from fetchml.core.state import State, asked_for, fits


def next_to_start(state: State, now: int) -> str | None:
    """The id of a ready task that can have its resources now; looks at one task a shape."""
    if not state.launcher_available or state.draining or state.free_slots <= 0:
        return None
    free = state.free
    kept: set[str] = set()
    for turn, shape in state.waiting.heads():
        asked = set(asked_for(shape))
        if asked & kept:
            continue
        if fits(shape, free):
            return turn.task_id
        if now - turn.ready_at >= state.limits.reserve_after_ms:
            kept |= asked
    return None
