"""The secrets of Jupyter services: derived from the server's key, `<data-dir>/jupyter.key`, and
stored nowhere.

A copy of the database alone, such as a backup, opens no running service.
"""

import base64
import hmac
from pathlib import Path

from fetchml.files import own_file
from fetchml.files.layout import JUPYTER_KEY


def load_key(data_dir: Path) -> bytes:
    """Return the key; see `own_file.load_key`. Raises OSError."""
    return own_file.load_key(data_dir / JUPYTER_KEY)


def token_of(key: bytes, service_id: str) -> str:
    """Return the token of a service: 43 characters that cannot be guessed without the key."""
    digest = hmac.digest(key, service_id.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def relay_secret(key: bytes, service_id: str, attempt: int) -> bytes:
    """Return the secret that the server shares with an attempt's relay on a node of a cluster."""
    return hmac.digest(key, f"relay {service_id} {attempt}".encode(), "sha256")
