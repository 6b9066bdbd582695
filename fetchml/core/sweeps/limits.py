"""The number of sweeps that the server keeps, and the division of its places between users.

A sweep that still has tasks can't be dropped. Without a reserve, a few users could take all places
and keep everyone else out.
"""

MAX_SWEEPS = 5_000
"""They are all in memory."""
MAX_OF_ONE_USER = 1_000
RESERVED = 1_000
"""The last places: only users with fewer than FEW sweeps get one of them."""
FEW = 20


def fault(own: int, in_all: int) -> str | None:
    """Return why a user with `own` sweeps gets no place for another one, of `in_all` that are kept;
    `None` if there is one."""
    if own >= MAX_OF_ONE_USER:
        return f"per-user sweep limit ({own}) reached"
    if in_all >= MAX_SWEEPS:
        return f"the server keeps {in_all} sweeps of all users, as many as it can"
    if own >= FEW and in_all >= MAX_SWEEPS - RESERVED:
        return (
            f"you have {own} sweeps, and the server's last {RESERVED} places are for users with "
            f"fewer than {FEW}"
        )
    return None
