"""The frames of one direction of a WebSocket, followed through pieces of bytes that pass by.

Only headers are looked at (RFC 6455, 5.2); payloads of any size pass without being kept.
"""

import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_CONTROL_BYTES = 125
"""The payload of a close, ping or pong."""

_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_MASK_BYTES = 4
_EXTENDED = {126: 2, 127: 8}
"""Bytes of a length that follows the first two bytes of a header."""


class Frames:
    """Where one side's stream of frames stands. No extension is negotiated, so no bit is reserved
    for one."""

    __slots__ = ("_head", "_left", "_opcode", "closed", "fault", "masked")

    def __init__(self, *, masked: bool) -> None:
        """`masked`: every frame must be, as those of browsers; otherwise none may be."""
        self.masked = masked
        self.closed = False
        """A whole close frame has passed: nothing counts after it."""
        self.fault: str | None = None
        """What is wrong with the header at which `feed` stopped. `None` if nothing is."""
        self._head = bytearray()
        """Of a header that has not passed as a whole."""
        self._left = 0
        """Bytes of the current frame behind its header that have not passed yet."""
        self._opcode = CONTINUATION

    @property
    def between(self) -> bool:
        """Whether what passed last was the end of a frame, so that another may be put in."""
        return not (self._left or self._head)

    def feed(self, data: bytes) -> int:
        """Follow the next piece. Returns how many bytes of it may pass: all, unless there is a
        `fault`, or the stream is `closed`."""
        at, size = 0, len(data)
        in_parts = bool(self._head)
        while at < size and not self.closed and self.fault is None:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                self._note_end()
                continue
            begin, head = at, self._head
            while at < size and len(head) < self._head_bytes():
                head.append(data[at])
                at += 1
            if len(head) == self._head_bytes():
                fault = self._begin(bytes(head))
                if fault is not None:
                    self.fault = fault
                    if not (in_parts and begin == 0):
                        head.clear()
                    return begin
                head.clear()
                self._note_end()
        return at

    def _head_bytes(self) -> int:
        """Of the header, as far as it is known: without the key of its mask."""
        return 2 + (_EXTENDED.get(self._head[1] & ~_MASKED, 0) if len(self._head) > 1 else 0)

    def _begin(self, head: bytes) -> str | None:
        """Of the next frame. Returns what is wrong with its header."""
        opcode, length = head[0] & 0x0F, int.from_bytes(head[2:], "big")
        short = head[1] & ~_MASKED
        if head[0] & _RESERVED or opcode not in _OPCODES:
            return "a frame of an unknown kind"
        if bool(head[1] & _MASKED) is not self.masked:
            return "a frame must be masked" if self.masked else "a frame must not be masked"
        if opcode >= CLOSE and (short > MAX_CONTROL_BYTES or not head[0] & _FIN):
            return "a control frame is too long, or in parts"
        if length >> 63:
            return "a frame is too long"
        self._opcode = opcode
        payload = length if short in _EXTENDED else short
        self._left = payload + (_MASK_BYTES if self.masked else 0)
        return None

    def _note_end(self) -> None:
        if not self._left and self._opcode == CLOSE:
            self.closed = True


def control_frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """A whole control frame of up to `MAX_CONTROL_BYTES`."""
    if not masked:
        return struct.pack("!BB", _FIN | opcode, len(payload)) + payload
    key = os.urandom(_MASK_BYTES)
    hidden = bytes(byte ^ key[index % _MASK_BYTES] for index, byte in enumerate(payload))
    return struct.pack("!BB", _FIN | opcode, _MASKED | len(payload)) + key + hidden


def close_frame(code: int, reason: bytes, *, masked: bool) -> bytes:
    """With as much of the reason as there is room for, in whole characters."""
    room = MAX_CONTROL_BYTES - 2
    text = reason[:room].decode(errors="ignore").encode()
    return control_frame(CLOSE, struct.pack("!H", code) + text, masked=masked)
