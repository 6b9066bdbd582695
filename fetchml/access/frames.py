"""The frames on the streams of the shim as a helper (shim/README.md): a type, a size, the data."""

from fetchml.ports.launcher import Helper
from fetchml.system.pacing import Pace

HEAD_BYTES = 5
MOST_BYTES = 64 << 10
"""Of the data of one frame."""


class NoFrame(Exception):
    """The helper has ended, or sent something other than a frame."""


def frame(kind: str, data: bytes = b"") -> bytes:
    return kind.encode() + len(data).to_bytes(4) + data


class FrameReader:
    """Reads the frames of one helper. The task may have replaced the helper, so frames are
    untrusted input."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._unread = bytearray()
        self._pace = Pace()

    async def next(self) -> tuple[str, bytes]:
        """Raises NoFrame."""
        await self._pace.rest()  # The unread bytes may be thousands of frames without data.
        await self._have(HEAD_BYTES)
        size = int.from_bytes(self._unread[1:HEAD_BYTES])
        if size > MOST_BYTES:
            raise NoFrame
        await self._have(HEAD_BYTES + size)
        kind = chr(self._unread[0])
        data = bytes(self._unread[HEAD_BYTES : HEAD_BYTES + size])
        del self._unread[: HEAD_BYTES + size]
        return kind, data

    async def _have(self, size: int) -> None:
        while len(self._unread) < size:
            piece = await self._helper.read()
            if not piece:
                raise NoFrame
            self._unread += piece
