"""The server's certificate and private key, in files that may be replaced while it runs.

Nothing watches the files: each handshake checks whether they have changed, which takes two `stat`s.
New connections get a new certificate at once, and open ones go on.
"""

import logging
import ssl
import threading
from pathlib import Path
from typing import NamedTuple

from fetchml.config.settings import ServerSettings

HTTP = ["http/1.1"]
"""The protocols that the server offers inside TLS."""
TRIES = 3
"""Number of times that the files are read again if they change meanwhile."""

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]
"""Of each file (inode, time of change, size): it differs after a write and after a replacement."""


class BadCertificate(Exception):
    """The files cannot be used; the message names the file, the reason and the remedy."""


class LoadedCertificate(NamedTuple):
    certificate: bytes
    """PEM: the server's own certificate, then the intermediate ones."""
    key: bytes
    context: ssl.SSLContext


class Certificate:
    """The current content of the two files. Used from any thread."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises BadCertificate."""
        self._certificate = certificate
        self._key = key
        self._lock = threading.Lock()
        self._stamp, self._loaded = self._load()
        self._complaint = ""
        """The last warning, so that it is logged once and not for each handshake."""

    def current(self) -> LoadedCertificate:
        """Return the current files, or the last valid pair while the files are inconsistent."""
        with self._lock:
            try:
                if self._read_stamp() != self._stamp:
                    self._stamp, self._loaded = self._load()
                    self._complaint = ""
                    log.info("the TLS certificate was loaded again from %s", self._certificate)
            except BadCertificate as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.warning("%s; the previous TLS certificate stays in use", error)
            return self._loaded

    def server_context(self) -> ssl.SSLContext:
        """Return a context that does each handshake with the files as they are then."""

        def choose(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            handshake.context = self.current().context

        context = _new_context()
        context.sni_callback = choose  # also called for clients that name no server
        return context

    def _read_stamp(self) -> Stamp:
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
            stamp = self._read_stamp()
            loaded = self._read()
            if self._read_stamp() == stamp:
                return stamp, loaded
        raise BadCertificate(f"{self._certificate} and {self._key} keep changing")

    def _read(self) -> LoadedCertificate:
        certificate, key = _pem(self._certificate, b"CERTIFICATE"), _pem(self._key, b"PRIVATE KEY")
        if b"ENCRYPTED" in key:
            raise BadCertificate(
                f"{self._key} is encrypted: decrypt it ('openssl pkey'), and make it readable "
                "only for the server"
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
                f"{self._certificate} with {self._key} cannot be used: {error.reason or error}"
            ) from error
        except OSError as error:
            raise BadCertificate(f"{self._key}: cannot read it: {error.strerror}") from error
        return LoadedCertificate(certificate, key, context)


def configured_certificate(settings: ServerSettings) -> Certificate | None:
    """Return the certificate that the settings name; `None` if TLS is off.

    Raises BadCertificate.
    """
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise BadCertificate("set both [server] tls_cert and tls_key, or neither")
    return Certificate(settings.tls_cert, settings.tls_key)


def _new_context() -> ssl.SSLContext:
    """Return a context for TLS 1.2 or later."""
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
