"""A keyring over a store in memory, with a clock that a test turns."""

from typing import Any

from fetchml.auth.admission import Admission
from fetchml.auth.keyring import Keyring
from fetchml.auth.limits import RateLimiter
from fetchml.core.model import Key


class KeyStore:
    """The part of the Store port that keys need."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.writes = 0

    async def put_key(self, key: Key) -> None:
        self.keys[key.id] = key
        self.writes += 1

    async def list_keys(self) -> list[Key]:
        return list(self.keys.values())


class KeyWorld:
    """A keyring with a clock to turn."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.store = KeyStore()
        self.ids = 0
        self.keyring = self.restart()

    def restart(self) -> Keyring:
        store: Any = self.store
        return Keyring(store, clock_ms=lambda: self.now_ms, new_id=self.new_id)

    def new_id(self) -> str:
        self.ids += 1
        return f"key-{self.ids:02}"

    def admission(self, limiter: RateLimiter | None = None) -> Admission:
        return Admission(self.keyring, lambda: self.now_ms / 1000, limiter=limiter)
