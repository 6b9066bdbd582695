"""One-time codes: the holder of a key lets a browser sign in without typing the key."""

from fetchml.auth.key_tokens import Bounds, KeyTokens
from fetchml.auth.keyring import Keyring

CODE_MS = 120_000
"""Lifetime of a code."""
CODES_BY_KEY = 16
CODES_IN_ALL = 4096


class SignInCodes:
    """Codes that were not used yet. Used from one event loop."""

    def __init__(self, keyring: Keyring) -> None:
        self._codes = KeyTokens[None](
            keyring,
            "fml_code_",
            Bounds(CODES_BY_KEY, CODES_IN_ALL),
            what="sign-in codes that were not used",
        )

    def __len__(self) -> int:
        return len(self._codes)

    def create(self, key_id: str) -> tuple[str, int]:
        """Create a code of this key; returns it and its end. Raises Overloaded."""
        return self._codes.create(key_id, CODE_MS, None)

    def find(self, code: str) -> str | None:
        """Return the id of the code's key, without using the code up; `None` if there is no such
        code now."""
        found = self._codes.find(code)
        return None if found is None else found.key_id

    def use(self, code: str) -> str | None:
        """Return the id of the code's key, once; `None` if there is no such code now."""
        found = self._codes.take(code)
        return None if found is None else found.key_id
