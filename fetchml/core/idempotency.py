"""How an idempotency key is remembered: a create that is repeated with its key returns what the
first one made, and the same key with another request is an error.

The key and the SHA-256 of its request are stored with what was created, in the same commit
(`Task.idempotency`, `Sweep.idempotency`), so a key is durable exactly when its task or sweep is. A
key counts for its user, for `KEPT_MS`, among tasks or among sweeps. The store finds the keys of
tasks (`Store.find_idempotent`); all sweeps are in memory (`earlier`). From the lookup to the
durable commit the engine holds a lock, so that of two creates with one key the second finds what
the first has created.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from fetchml.core.model import Idempotency

KEPT_MS = 24 * 3600 * 1000
"""Time after which a key counts as new again."""
_KEY = re.compile(r"[!-~]{1,255}")


class Created(Protocol):
    """A task or a sweep."""

    @property
    def user(self) -> str: ...
    @property
    def created_at(self) -> int: ...
    @property
    def idempotency(self) -> Idempotency | None: ...


C = TypeVar("C", bound=Created)


def key_fault(key: str) -> str | None:
    """Return the fault of a key; `None` if it is valid."""
    if _KEY.fullmatch(key):
        return None
    return "must be one key of 1 to 255 visible ASCII characters"


def key_faults(keys: Sequence[str | None]) -> Iterator[tuple[int, str]]:
    """Yield the index and the fault of each invalid key of a batch. `None`: a task without one."""
    first = dict[str, int]()
    for index, key in enumerate(keys):
        if key is None:
            continue
        if key in first:
            yield index, f"is that of tasks[{first[key]}] too: each needs its own"
        elif fault := key_fault(key):
            yield index, fault
        first.setdefault(key, index)


def of_request(key: str, request: Mapping[str, object]) -> Idempotency:
    digest = hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()
    return Idempotency(key, digest)


def fault(digest: str, again: Idempotency) -> str | None:
    """Return why a key can't be used again; `None` if it comes with the same request. `digest`: of
    the request that used it first."""
    if again.digest == digest:
        return None
    return "was used with another request: use a new key"


def earlier(created: Iterable[C], user: str, key: str, now: int) -> C | None:
    """Return the sweep that a key created; `None` if the key is new. `created`: newest first."""
    for each in created:
        if each.created_at < now - KEPT_MS:
            return None
        if each.idempotency is not None and (each.user, each.idempotency.key) == (user, key):
            return each
    return None
