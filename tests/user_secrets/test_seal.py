"""The encryption of secrets, and the file with its key."""

import stat
from pathlib import Path

import pytest

from fetchml.user_secrets.seal import (
    KEY_BYTES,
    OVERHEAD_BYTES,
    BadSeal,
    DamagedKey,
    Sealer,
    load_key,
    make_key,
)

SEALER = Sealer(bytes(range(KEY_BYTES)))


@pytest.mark.parametrize("text", [b"", b"\0", b"\0\0token", b"token", b"x" * 65_536])
def test_sealed_text_opens(text: bytes) -> None:
    sealed = SEALER.seal(text, b"ada/TOKEN")
    assert len(sealed) == len(text) + OVERHEAD_BYTES
    assert Sealer(bytes(range(KEY_BYTES))).open(sealed, b"ada/TOKEN") == text
    assert SEALER.seal(text, b"ada/TOKEN") != sealed
    assert len(text) < 5 or text not in sealed


def test_form_of_sealed_texts_stays() -> None:
    """Data of this release opens in later ones."""
    sealed = bytes.fromhex(f"01{bytes(24).hex()}e169e7a28207c999190f16990a50150e54ab0cd96f")
    assert SEALER.open(sealed, b"ada/TOKEN") == b"token"


def test_changed_text_does_not_open() -> None:
    sealed = SEALER.seal(b"token", b"ada/TOKEN")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(BadSeal):
            SEALER.open(bytes(changed), b"ada/TOKEN")
    wrong = [
        (sealed, b"ben/TOKEN", SEALER),
        (sealed, b"ada/TOKEN", Sealer(bytes(KEY_BYTES))),
        (sealed[:-1], b"ada/TOKEN", SEALER),
        (sealed + b"x", b"ada/TOKEN", SEALER),
        (sealed[: OVERHEAD_BYTES - 1], b"ada/TOKEN", SEALER),
        (b"", b"ada/TOKEN", SEALER),
    ]
    for data, label, sealer in wrong:
        with pytest.raises(BadSeal):
            sealer.open(data, label)


def test_key_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_key(tmp_path)
    key = make_key(tmp_path)
    assert make_key(tmp_path) == load_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secrets.key").stat().st_mode) == 0o600
    for damaged in (b"", key[:-1], key + b"x"):
        (tmp_path / "secrets.key").write_bytes(damaged)
        for call in (load_key, make_key):
            with pytest.raises(DamagedKey):
                call(tmp_path)
        assert (tmp_path / "secrets.key").read_bytes() == damaged
