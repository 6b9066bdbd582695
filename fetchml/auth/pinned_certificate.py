"""TLS between two programs that share a secret, and with nobody else.

Both ends present the same certificate, made from the secret, and accept no other one. So the
handshake proves to each that the other has the secret, before a byte of either passes. The
certificate names nobody and never expires: the clocks of the machines do not matter.
"""

import base64
import os
import ssl
from typing import NamedTuple

SECRET_BYTES = 32
_ED25519 = bytes.fromhex("06032b6570")
_COMMON_NAME = bytes.fromhex("0603550403")
_ALWAYS = (b"20000101000000Z", b"99991231235959Z")
_SEQUENCE, _SET = 0x30, 0x31
_INTEGER, _BITS, _BYTES, _UTF8, _TIME = 0x02, 0x03, 0x04, 0x0C, 0x18


class PinnedCertificate(NamedTuple):
    """In PEM."""

    certificate: str
    private_key: str

    @property
    def both(self) -> str:
        return self.certificate + self.private_key

    def client_context(self) -> ssl.SSLContext:
        """Return a context whose connections reach only an end with the same certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # It is this certificate, or none.
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.certificate)
        file = os.memfd_create("certificate")  # Python loads keys from files only.
        try:
            os.write(file, self.both.encode())
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        return context


def certificate_of(secret: bytes) -> PinnedCertificate:
    """Make the certificate (X.509 with Ed25519, RFC 8410). `secret`: SECRET_BYTES that cannot be
    guessed."""
    from nacl import bindings  # noqa: PLC0415  # most servers have no cluster

    public, private = bindings.crypto_sign_seed_keypair(secret)
    algorithm = _der(_SEQUENCE, _ED25519)
    name = _der(_SEQUENCE, _COMMON_NAME, _der(_UTF8, b"fetchml"))
    issuer = _der(_SEQUENCE, _der(_SET, name))
    valid = _der(_SEQUENCE, *(_der(_TIME, time) for time in _ALWAYS))
    key = _der(_SEQUENCE, algorithm, _der(_BITS, b"\0", public))
    signed = _der(_SEQUENCE, _der(_INTEGER, b"\1"), algorithm, issuer, valid, issuer, key)
    signature = bindings.crypto_sign(signed, private)[: bindings.crypto_sign_BYTES]
    return PinnedCertificate(
        _pem("CERTIFICATE", _der(_SEQUENCE, signed, algorithm, _der(_BITS, b"\0", signature))),
        _pem(
            "PRIVATE KEY",
            _der(_SEQUENCE, _der(_INTEGER, b"\0"), algorithm, _der(_BYTES, _der(_BYTES, secret))),
        ),
    )


def _der(tag: int, *parts: bytes) -> bytes:
    """A value of at most 255 bytes."""
    value = b"".join(parts)
    size = bytes([len(value)]) if len(value) < 0x80 else bytes([0x81, len(value)])
    return bytes([tag]) + size + value


def _pem(kind: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n"
