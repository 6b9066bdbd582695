"""Tracking the frames of one direction of a WebSocket while its bytes pass through.

Only frame headers are parsed (RFC 6455, section 5.2); payloads of any size pass unbuffered.
"""

import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_CONTROL_BYTES = 125
"""Largest payload of a close, ping or pong frame."""

_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_MASK_BYTES = 4
_EXTENDED = {126: 2, 127: 8}
"""Length code in a header → size in bytes of the extended length that follows it."""


class Frames:
    """The position in one side's stream of frames. Reserved bits are rejected, since no extension
    is negotiated."""

    __slots__ = ("_head", "_left", "_opcode", "closed", "fault", "masked")

    def __init__(self, *, masked: bool) -> None:
        """`masked`: every frame must be masked, as browsers do; otherwise none may be."""
        self.masked = masked
        self.closed = False
        """Whether a complete close frame has passed; later bytes are ignored."""
        self.fault: str | None = None
        """The fault of the header at which `feed` stopped; `None` if there is none."""
        self._head = bytearray()
        """The bytes of an incomplete header."""
        self._left = 0
        """Bytes of the current frame, after its header, that have not passed yet."""
        self._opcode = CONTINUATION

    @property
    def between(self) -> bool:
        """Whether the position is between two frames, so that another frame may be inserted."""
        return not (self._left or self._head)

    def feed(self, data: bytes) -> int:
        """Advance over the next piece. Returns the number of its bytes that may pass: all of them,
        unless there is a `fault` or the stream is `closed`."""
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
        """Return the header's size as far as it is known, without the masking key."""
        return 2 + (_EXTENDED.get(self._head[1] & ~_MASKED, 0) if len(self._head) > 1 else 0)

    def _begin(self, head: bytes) -> str | None:
        """Begin the next frame. Returns the fault of its header, `None` if it is valid."""
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
    """Return a control frame. `payload`: at most `MAX_CONTROL_BYTES`."""
    if not masked:
        return struct.pack("!BB", _FIN | opcode, len(payload)) + payload
    key = os.urandom(_MASK_BYTES)
    hidden = bytes(byte ^ key[index % _MASK_BYTES] for index, byte in enumerate(payload))
    return struct.pack("!BB", _FIN | opcode, _MASKED | len(payload)) + key + hidden


def close_frame(code: int, reason: bytes, *, masked: bool) -> bytes:
    """Return a close frame, with the reason cut to fit at a character's boundary."""
    text = reason[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return control_frame(CLOSE, struct.pack("!H", code) + text, masked=masked)
