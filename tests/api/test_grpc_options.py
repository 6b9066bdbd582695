"""The options of gRPC's library, which ignores unknown names."""

import re
from importlib import import_module
from pathlib import Path

from tests.support.validate import ROOT


def test_library_has_every_option() -> None:
    """With a misspelled one the server ended connections of quiet watches after three pings."""
    library = Path(str(import_module("grpc._cython.cygrpc").__file__)).read_bytes()
    own = [path.read_text() for path in (ROOT / "fetchml").rglob("*.py")]
    names = {name for text in own for name in re.findall(r'\("(grpc\.[a-z0-9_.]+)",', text)}
    assert len(names) > 10
    assert [name for name in sorted(names) if f"{name}\0".encode() not in library] == []
