"""`<data-dir>/secrets.key`: the key that the values of secrets are encrypted with."""

import secrets
from pathlib import Path

from fetchml.files.layout import SECRETS_KEY
from fetchml.files.own_file import read_own, write_durably
from fetchml.user_secrets.seal import KEY_BYTES


class DamagedKey(OSError):
    """The file has no key. It is left as it is: a backup may have the right one."""


def load_key(data_dir: Path) -> bytes:
    """Return the key. Call it with the data directory locked. Raises FileNotFoundError, DamagedKey,
    OSError."""
    path = data_dir / SECRETS_KEY
    key = read_own(path, KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise DamagedKey(f"{path} is damaged: restore it from a backup, or remove it")
    return key


def make_key(data_dir: Path) -> bytes:
    """Return the key, as `load_key`; it is created if there is none."""
    try:
        return load_key(data_dir)
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        write_durably(data_dir / SECRETS_KEY, key)
        return key
