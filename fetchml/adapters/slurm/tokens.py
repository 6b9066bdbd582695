"""Tokens for slurmrestd: read from a file that the site keeps fresh, or made with its key."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

VALID_SECONDS = 1800
RENEW_SECONDS = 900


class Tokens:
    """Exactly one of `token_file` and `key_file` is used."""

    def __init__(self, user: str, token_file: Path | None, key_file: Path | None) -> None:
        self._user = user
        self._token_file = token_file
        self._key_file = key_file
        self._made = ""
        self._made_at = float("-inf")

    def current(self) -> str:
        """Return a valid token. Raises OSError, ValueError."""
        if self._token_file is not None:
            # A site's job replaces the file; it may hold `SLURM_JWT=…` as scontrol prints it.
            token = self._token_file.read_text().strip().removeprefix("SLURM_JWT=")
            if not token or any(c.isspace() for c in token):
                raise ValueError(f"{self._token_file} holds no token")
            return token
        if self._key_file is None:
            raise ValueError("set [slurm] token_file or jwt_key")
        now = time.monotonic()
        if now - self._made_at > RENEW_SECONDS:
            self._made = make_token(self._key_file.read_bytes(), self._user, int(time.time()))
            self._made_at = now
        return self._made

    def forget(self) -> None:
        """Make a new token next time: Slurm refused this one."""
        self._made_at = float("-inf")


def make_token(key: bytes, user: str, now: int, seconds: int = VALID_SECONDS) -> str:
    """Return a JSON Web Token (HS256) as slurmctld accepts it."""
    header = _encode(b'{"alg":"HS256","typ":"JWT"}')
    claims = {"iat": now, "exp": now + seconds, "sun": user}
    message = header + b"." + _encode(json.dumps(claims).encode())
    signature = hmac.new(key, message, hashlib.sha256).digest()
    return (message + b"." + _encode(signature)).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
