"""Short-lived secrets that belong to API keys: in memory only, by the SHA-256 of each."""

import secrets
from typing import Generic, NamedTuple, TypeVar

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.errors import Overloaded

T = TypeVar("T")


class Bounds(NamedTuple):
    """Numbers of secrets that were not used up and have not expired."""

    by_key: int
    """A further one replaces the oldest of the key."""
    in_all: int


class KeyToken(NamedTuple, Generic[T]):
    key_id: str
    expires_at: int
    """Milliseconds since the epoch (UTC)."""
    value: T
    """The right that the secret gives, besides the key."""


class KeyTokens(Generic[T]):
    """Used from one event loop."""

    def __init__(self, keyring: Keyring, prefix: str, bounds: Bounds, *, what: str) -> None:
        """`what`: the secrets, in the message of the error of too many."""
        self._keyring = keyring
        self._prefix = prefix
        self._bounds = bounds
        self._what = what
        self._by_digest: dict[str, KeyToken[T]] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def create(self, key_id: str, life_ms: int, value: T) -> tuple[str, int]:
        """Return a new secret and its end. Raises Overloaded."""
        now = self._keyring.now()
        kept = {name: each for name, each in self._by_digest.items() if each.expires_at > now}
        of_key = [digest for digest, each in kept.items() if each.key_id == key_id]
        if len(of_key) >= self._bounds.by_key:
            del kept[of_key[0]]
        self._by_digest = kept
        if len(kept) >= self._bounds.in_all:
            raise Overloaded(f"The server has too many {self._what}")
        secret = f"{self._prefix}{secrets.token_urlsafe(32)}"
        kept[digest_of(secret)] = KeyToken(key_id, now + life_ms, value)
        return secret, now + life_ms

    def find(self, secret: str) -> KeyToken[T] | None:
        """Return the token of a secret; `None` if there is none now."""
        return self._valid(self._by_digest.get(digest_of(secret)))

    def take(self, secret: str) -> KeyToken[T] | None:
        """Return the token of a secret, once; `None` if there is none now."""
        return self._valid(self._by_digest.pop(digest_of(secret), None))

    def _valid(self, found: KeyToken[T] | None) -> KeyToken[T] | None:
        return found if found is not None and found.expires_at > self._keyring.now() else None
