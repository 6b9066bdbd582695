"""Encryption of small texts: XChaCha20-Poly1305 of libsodium, by PyNaCl (decision 57).

A sealed text is FORM, a random nonce, and the ciphertext with its tag, which also authenticates a
label that the text is bound to.
"""

import secrets

FORM = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
OVERHEAD_BYTES = len(FORM) + NONCE_BYTES + TAG_BYTES


class BadSeal(Exception):
    """The text was sealed with another key or label, or was changed."""


class Sealer:
    def __init__(self, key: bytes) -> None:
        """`key`: KEY_BYTES random bytes."""
        from nacl import bindings, exceptions  # noqa: PLC0415  # most servers have no secrets

        self._key = key
        self._encrypt = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt
        self._decrypt = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
        self._bad = exceptions.CryptoError

    def seal(self, text: bytes, label: bytes) -> bytes:
        """Encrypt a text. Equal texts are sealed differently each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORM + nonce + self._encrypt(text, label, nonce, self._key)

    def open(self, sealed: bytes, label: bytes) -> bytes:
        """Return the text. Raises BadSeal."""
        if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(FORM):
            raise BadSeal
        nonce, body = sealed[len(FORM) :][:NONCE_BYTES], sealed[len(FORM) + NONCE_BYTES :]
        try:
            return self._decrypt(body, label, nonce, self._key)
        except self._bad:
            raise BadSeal from None
