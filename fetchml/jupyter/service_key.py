"""`<data-dir>/jupyter.key`: the key from which the tokens of Jupyter services are derived."""

import secrets
from pathlib import Path

from fetchml.files.layout import JUPYTER_KEY
from fetchml.files.own_file import read_own, write_durably

KEY_BYTES = 32


def load_key(data_dir: Path) -> bytes:
    """Return the key, made if it is missing or unusable. Call it with the data directory locked.

    Raises OSError.
    """
    try:
        key = read_own(data_dir / JUPYTER_KEY, KEY_BYTES + 1)
    except FileNotFoundError:
        key = b""
    if len(key) != KEY_BYTES:
        key = secrets.token_bytes(KEY_BYTES)
        write_durably(data_dir / JUPYTER_KEY, key)
    return key
