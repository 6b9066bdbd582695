"""Encryption of small texts with primitives of the standard library (decision 57).

A sealed text is FORM, a random nonce, the ciphertext, and a tag. SHAKE-256 of key and nonce is the
key stream; HMAC-SHA-256 authenticates everything, with a label that the text is bound to.
"""

import hashlib
import hmac
import secrets

FORM = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 32
TAG_BYTES = 32
OVERHEAD_BYTES = len(FORM) + NONCE_BYTES + TAG_BYTES


class BadSeal(Exception):
    """The text was sealed with another key or label, or was changed."""


class Sealer:
    def __init__(self, key: bytes) -> None:
        """`key`: KEY_BYTES random bytes."""
        self._cipher_key = _derived(key, b"fetchml secrets: cipher")
        self._tag_key = _derived(key, b"fetchml secrets: tag")

    def seal(self, text: bytes, label: bytes) -> bytes:
        """Encrypt a text. Equal texts are sealed differently each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = FORM + nonce + self._crypt(text, nonce)
        return sealed + self._tag(sealed, label)

    def open(self, sealed: bytes, label: bytes) -> bytes:
        """Return the text. Raises BadSeal."""
        body, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        is_whole = len(sealed) >= OVERHEAD_BYTES and sealed.startswith(FORM)
        if not is_whole or not hmac.compare_digest(self._tag(body, label), tag):
            raise BadSeal
        nonce, text = body[len(FORM) :][:NONCE_BYTES], body[len(FORM) + NONCE_BYTES :]
        return self._crypt(text, nonce)

    def _crypt(self, text: bytes, nonce: bytes) -> bytes:
        stream = hashlib.shake_256(self._cipher_key + nonce).digest(len(text))
        mixed = int.from_bytes(text) ^ int.from_bytes(stream)
        return mixed.to_bytes(len(text))

    def _tag(self, body: bytes, label: bytes) -> bytes:
        # The length keeps label and body apart.
        return hmac.digest(self._tag_key, len(label).to_bytes(8) + label + body, "sha256")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")
