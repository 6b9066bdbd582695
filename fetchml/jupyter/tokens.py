"""The secrets of Jupyter services: derived from the server's key and stored nowhere.

A copy of the database alone, such as a backup, opens no running service.
"""

import base64
import hmac


def token_of(key: bytes, service_id: str) -> str:
    """Return the token of a service: 43 characters that cannot be guessed without the key."""
    digest = hmac.digest(key, service_id.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def relay_secret(key: bytes, service_id: str, attempt: int) -> bytes:
    """Return the secret that the server shares with an attempt's relay on a node of a cluster."""
    return hmac.digest(key, f"relay {service_id} {attempt}".encode(), "sha256")
