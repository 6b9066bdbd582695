"""Archives as clients send them, and as nobody should."""

import io
import tarfile
from collections.abc import AsyncIterator

Member = tuple[tarfile.TarInfo, bytes]


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Member:
    member = tarfile.TarInfo(path)
    member.size = len(content)
    member.mode = mode
    return member, content


def folder(path: str) -> Member:
    return special(path, tarfile.DIRTYPE)


def link(path: str, target: str) -> Member:
    return special(path, tarfile.SYMTYPE, target)


def hard_link(path: str, target: str) -> Member:
    return special(path, tarfile.LNKTYPE, target)


def special(path: str, kind: bytes, target: str = "") -> Member:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.linkname = target
    return member, b""


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def packed(*members: Member) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


async def sent(data: bytes, piece_bytes: int = 1000) -> AsyncIterator[bytes]:
    """As a transport hands it on."""
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]
