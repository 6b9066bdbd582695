"""Encryption of small texts: XChaCha20-Poly1305 of libsodium, by PyNaCl (decision 57).

A sealed text is FORM, a random nonce, and the ciphertext with its tag, which also authenticates a
label that the text is bound to. The key is in `<data-dir>/secrets.key`.
"""

import secrets
from pathlib import Path

from fetchml.files.layout import SECRETS_KEY
from fetchml.files.own_file import read_own, write_durably

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
