"""Signatures of webhooks by the Standard Webhooks specification: HMAC-SHA256 over the message's id,
the time of the attempt and the body.

A secret belongs to a user and a host, so that no receiver can sign for another one. It is derived
from the server's key and stored nowhere, and its owner reads it whenever it is needed.
"""

import base64
import hmac
from urllib.parse import urlsplit

PREFIX = "whsec_"


def secret_of(key: bytes, user: str, url: str, generation: int = 0) -> bytes:
    """Return the secret of a user's webhooks to the URL's host. `generation`: how often the user
    replaced the secrets."""
    origin = urlsplit(url).netloc.lower()
    return hmac.digest(key, f"{user}\0{origin}\0{generation}".encode(), "sha256")


def shown(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, sent_at: int, body: bytes) -> str:
    """Return an entry of the header `webhook-signature`. `sent_at`: seconds since the epoch."""
    signed = f"{message_id}.{sent_at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
