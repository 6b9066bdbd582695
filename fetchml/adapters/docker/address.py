"""The address of the Docker engine, with the rules of the Docker SDK and command line.

The SDK takes longer to import than the rest of the Docker launcher, so only a pull and `fetchml
doctor` import it.
"""

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp

DEFAULT_HOST = "unix:///var/run/docker.sock"
_UNIX = ("unix", "http+unix")
_TCP = ("tcp", "http", "https")


def lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make `context` accept an authority without a `keyUsage` extension, and return it.

    Docker's documentation creates such authorities, which Python rejects from 3.13 on. The
    signature, the dates and the host's name of the certificate are checked as before.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """One engine's address."""

    base: str
    """Prefix of the URLs of its API."""
    socket: str | None = None
    """The path of its UNIX socket; `None` for TCP."""
    certificates: Path | None = None
    """The folder of `ca.pem`, `cert.pem` and `key.pem`; `None` uses the host's authorities and no
    client certificate."""
    verify: bool = True
    """Whether the engine's certificate is checked."""

    @classmethod
    def find(cls, host: str | None) -> Self:
        """`host` is as in DOCKER_HOST; `None` uses the environment's address, or the local socket.

        Raises ValueError for a malformed address or an unsupported scheme.
        """
        if host is not None:
            return cls._parse(host, None, verify=True)
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
        folder = os.environ.get("DOCKER_CERT_PATH")
        certificates = Path(folder) if folder else Path.home() / ".docker" if verify else None
        return cls._parse(os.environ.get("DOCKER_HOST") or "", certificates, verify=verify)

    @classmethod
    def _parse(cls, host: str, certificates: Path | None, *, verify: bool) -> Self:
        host = host.strip()
        if host in ("", "unix://"):
            host = DEFAULT_HOST
        scheme, separator, rest = host.partition("://")
        if not separator and not host.partition(":")[0].isalpha():
            scheme, rest = "tcp", host
        if scheme in _UNIX:
            return cls("http://docker", socket=rest)
        if scheme not in _TCP:
            raise ValueError(f"it can't be reached by {scheme}: use unix:// or tcp://")
        has_tls = scheme == "https" or (scheme == "tcp" and certificates is not None)
        try:
            parts = urlsplit(f"{'https' if has_tls else 'http'}://{rest}")
            port = parts.port
        except ValueError:
            port = None
        if not port:
            raise ValueError("the address has no port")
        base = parts._replace(netloc=parts.netloc if parts.hostname else f"127.0.0.1:{port}")
        verify = verify or certificates is None
        return cls(base.geturl().rstrip("/"), certificates=certificates, verify=verify)

    def connector(self) -> aiohttp.BaseConnector:
        """Return a connector for one session. Raises OSError for certificates that can't be
        read."""
        if self.socket is not None:
            return aiohttp.UnixConnector(self.socket, limit=0)
        is_encrypted = self.base.startswith("https:")
        return aiohttp.TCPConnector(ssl=self._tls() if is_encrypted else True, limit=0)

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open one connection, which buffers `limit` bytes. Raises OSError."""
        if self.socket is not None:
            return await asyncio.open_unix_connection(self.socket, limit=limit)
        parts = urlsplit(self.base)
        tls = self._tls() if parts.scheme == "https" else None
        return await asyncio.open_connection(parts.hostname, parts.port, limit=limit, ssl=tls)

    def _tls(self) -> ssl.SSLContext:
        folder = self.certificates
        authority = folder / "ca.pem" if folder and self.verify else None
        context = lenient(ssl.create_default_context(cafile=authority))
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if folder:
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return context
