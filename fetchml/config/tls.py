"""The server's certificate and its key, in files that are replaced while it runs.

Nothing watches the files: each handshake looks whether they have changed, which takes two `stat`s.
So new connections get the new certificate at once, and open ones go on.
"""

import logging
import ssl
import threading
from pathlib import Path
from typing import NamedTuple

HTTP = ["http/1.1"]
"""What is spoken inside, for clients that ask."""
TRIES = 3
"""How often files are read that change just then."""

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]
"""Tells a file from what stood in its place before, whether it was written to or replaced."""


class BadCertificate(Exception):
    """The files can't be used; the message says which, why, and what to do."""


class LoadedCertificate(NamedTuple):
    certificate: bytes
    """PEM: the server's own first, then those that lead to its authority."""
    key: bytes
    context: ssl.SSLContext


class Certificate:
    """Used from any thread."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises BadCertificate."""
        self._certificate = certificate
        self._key = key
        self._lock = threading.Lock()
        self._stamp, self._loaded = self._load()
        self._complaint = ""

    def current(self) -> LoadedCertificate:
        """The files as they are now. While they can't be used (one of the two was replaced, say),
        as they were before."""
        with self._lock:
            try:
                if self._look() != self._stamp:
                    self._stamp, self._loaded = self._load()
                    self._complaint = ""
                    log.info("the TLS certificate was loaded anew from %s", self._certificate)
            except BadCertificate as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.warning("%s; the TLS certificate from before is used on", error)
            return self._loaded

    def server_context(self) -> ssl.SSLContext:
        """Makes each handshake with the files as they are then."""

        def choose(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            handshake.context = self.current().context

        context = _new_context()
        context.sni_callback = choose  # called for clients that name no server, too
        return context

    def _look(self) -> Stamp:
        stamps = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
            except OSError as error:
                raise BadCertificate(f"{path}: cannot read it: {error.strerror}") from error
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _load(self) -> tuple[Stamp, LoadedCertificate]:
        for _ in range(TRIES):
            stamp = self._look()
            loaded = self._read()
            if self._look() == stamp:
                return stamp, loaded
        raise BadCertificate(f"{self._certificate} and {self._key} change all the time")

    def _read(self) -> LoadedCertificate:
        certificate, key = _pem(self._certificate, b"CERTIFICATE"), _pem(self._key, b"PRIVATE KEY")
        if b"ENCRYPTED" in key:
            raise BadCertificate(
                f"{self._key} is encrypted: decrypt it ('openssl pkey'), and let only the server "
                "read it"
            )
        context = _new_context()
        try:
            context.load_cert_chain(self._certificate, self._key)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise BadCertificate(
                    f"{self._key} is not the key of the first certificate in {self._certificate}"
                ) from error
            raise BadCertificate(
                f"{self._certificate} with {self._key} can't be used: {error.reason or error}"
            ) from error
        except OSError as error:
            raise BadCertificate(f"{self._key}: cannot read it: {error.strerror}") from error
        return LoadedCertificate(certificate, key, context)


def _new_context() -> ssl.SSLContext:
    """TLS 1.2 or later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(HTTP)
    return context


def _pem(path: Path, kind: bytes) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{path}: cannot read it: {error.strerror}") from error
    if b"-----BEGIN " not in content or kind + b"-----" not in content:
        raise BadCertificate(f"{path} holds no {kind.decode().lower()} in PEM")
    return content
