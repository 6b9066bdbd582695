"""The certificate's files: errors of unusable ones, and reloading after changes."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.config.tls import BadCertificate, Certificate
from testbed.authority import Authority


class Pair:
    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.issue()

    def issue(self) -> None:
        self.authority.issue(self.certificate, self.key)

    def load(self) -> Certificate:
        return Certificate(self.certificate, self.key)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def of_another(pair: Pair) -> None:
    pair.authority.issue(pair.certificate.with_name("other.pem"), pair.key)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda pair: pair.certificate.unlink(), "cert.pem: cannot read it: No such file"),
        (lambda pair: pair.key.unlink(), "key.pem: cannot read it: No such file"),
        (lambda pair: pair.certificate.write_text("x"), "cert.pem holds no certificate in PEM"),
        (lambda pair: pair.key.write_text("x"), "key.pem holds no private key in PEM"),
        (
            lambda pair: pair.key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            "key.pem is encrypted: decrypt it",
        ),
        (
            lambda pair: pair.key.write_text("-----BEGIN PRIVATE KEY-----\nx"),
            "cannot be used: ",
        ),
        (of_another, "is not the key of the first certificate in"),
    ],
)
def test_unusable_files_are_rejected_with_the_reason(
    pair: Pair, spoil: Callable[[Pair], None], said: str
) -> None:
    spoil(pair)
    with pytest.raises(BadCertificate) as caught:
        pair.load()
    assert said in str(caught.value)


def test_changed_files_are_loaded_again(pair: Pair) -> None:
    certificate = pair.load()
    first = certificate.current()
    assert certificate.current() is first
    pair.issue()
    second = certificate.current()
    assert second.certificate == pair.certificate.read_bytes() != first.certificate
    assert certificate.current() is second


def test_files_replaced_by_rename_are_loaded_again(pair: Pair) -> None:
    certificate = pair.load()
    new = [path.with_suffix(".new") for path in (pair.certificate, pair.key)]
    pair.authority.issue(*new)
    for path, old in zip(new, (pair.certificate, pair.key), strict=True):
        # The same time and size as before: what counts is that it is another file.
        os.utime(path, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
        path.replace(old)
    assert certificate.current().certificate == pair.certificate.read_bytes()


def test_the_old_certificate_stays_until_both_files_are_replaced(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = pair.load()
    first = certificate.current()
    key = pair.key.with_suffix(".new")
    pair.authority.issue(pair.certificate, key)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert certificate.current() is first
        assert len(caplog.records) == 1, "told once, not at every handshake"
        assert "is not the key of" in caplog.text
        assert "the previous TLS certificate stays in use" in caplog.text
        key.replace(pair.key)
        assert certificate.current().key == pair.key.read_bytes()
        pair.certificate.unlink()
        assert certificate.current().key == pair.key.read_bytes()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
