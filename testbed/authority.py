"""A certificate authority for tests, made with openssl."""

import subprocess
from pathlib import Path

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Authority:
    def __init__(self, folder: Path, *, key_usage: bool = True) -> None:
        """`key_usage`: say that it signs others, which Python requires from 3.13 on. Docker's
        documentation makes authorities without it."""
        folder.mkdir()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._made = 0
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=test authority", "-days", "2"),
            *(("-addext", "keyUsage=critical,keyCertSign,cRLSign") if key_usage else ()),
            *("-keyout", self._key, "-out", self.file),
        )

    def issue(self, certificate: Path, key: Path) -> None:
        """A new pair for this machine; each has a number of its own."""
        self._made += 1
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN=server {self._made}", "-days", "2", "-addext", NAMES),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.file, "-CAkey", self._key),
            *("-keyout", key, "-out", certificate),
        )


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
