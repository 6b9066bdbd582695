"""One-time codes: the holder of a key lets a browser sign in without typing the key."""

import secrets
from typing import NamedTuple

from fetchml.auth.keyring import Keyring, digest_of
from fetchml.errors import Overloaded

CODE_MS = 120_000
"""Lifetime of a code."""
CODES_BY_KEY = 16
"""A further code replaces the oldest of the key."""
CODES_IN_ALL = 4096


class SignInCode(NamedTuple):
    key_id: str
    expires_at: int
    """Milliseconds since the epoch (UTC)."""


class SignInCodes:
    """Codes that were not used yet, in memory only. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._by_digest: dict[str, SignInCode] = {}
        """Oldest first."""

    def __len__(self) -> int:
        return len(self._by_digest)

    def create(self, key_id: str) -> tuple[str, int]:
        """Create a code of this key; returns it and its end. Raises Overloaded."""
        now = self._keyring.now()
        kept = {name: each for name, each in self._by_digest.items() if each.expires_at > now}
        of_key = [digest for digest, each in kept.items() if each.key_id == key_id]
        if len(of_key) >= CODES_BY_KEY:
            del kept[of_key[0]]
        self._by_digest = kept
        if len(kept) >= CODES_IN_ALL:
            raise Overloaded("The server has too many sign-in codes that were not used")
        code = f"fml_code_{secrets.token_urlsafe(32)}"
        kept[digest_of(code)] = SignInCode(key_id, now + CODE_MS)
        return code, now + CODE_MS

    def use(self, code: str) -> str | None:
        """Return the id of the code's key, once; `None` if there is no such code now."""
        found = self._by_digest.pop(digest_of(code), None)
        if found is None or found.expires_at <= self._keyring.now():
            return None
        return found.key_id
