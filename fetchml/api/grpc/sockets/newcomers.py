"""Limits on what gRPC connections send before a key of theirs is accepted.

gRPC's limit on headers counts only after the client has acknowledged the server's settings. Until
then it would keep headers without end, at a hundred times their size, and turn them into Python's
objects within one turn of the event loop. So a connection that never acknowledges them is closed
after `SETTINGS_SECONDS`, and in the time before, the kernel passes on a limited number of bytes
(`byte_limit`, else `counting`) unless one of its calls presents a valid key.

All connections without a key share `BYTES_IN_ALL`, those of one address `BYTES_BY_ADDRESS`. A
connection gets `FIRST_BYTES` of them if there are hardly others, and `LEAST_BYTES` otherwise. If
they run short, the oldest connection of the address that holds most is closed, and new ones wait
unread. So an address that opens many connections keeps out mostly itself.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fetchml.api.grpc.sockets.byte_limit import UnknownStream
from fetchml.api.grpc.sockets.peers import address_of
from fetchml.config.proxies import caller_of

HANDSHAKE_SECONDS = 10
"""Longest time for the TLS handshake and the first HTTP/2 frame."""
SETTINGS_SECONDS = 5
"""Longest time from then on until the client has acknowledged the server's settings."""
NEW_SECONDS = HANDSHAKE_SECONDS + SETTINGS_SECONDS + 1
"""Connections that are older have acknowledged them, so gRPC limits their headers."""
FIRST_BYTES = 34 * 1024
"""The bytes that a client sends at once: the largest headers of a call, or ordinary ones and a
message that fills the first window of its stream. As headers of a byte each they take a turn of 15
ms, so only one connection at a time gets as many."""
LEAST_BYTES = 4 * 1024
"""A TLS handshake and a small call. A client that has sent more sends the rest again, a fifth of a
second later, once its key was accepted."""
QUIET_BYTES = 16 * 1024
"""A connection gets `FIRST_BYTES` while all together have no more than this."""
BYTES_BY_ADDRESS = 112 * 1024
BYTES_IN_ALL = 160 * 1024
MEMORY_OF_BYTE = 288
"""Memory for a byte of headers at most, which can name a whole field: in gRPC and in Python."""
FORGET_SECONDS = 1.0
"""The bytes of a connection that has ended count for so long, in which their memory is freed."""
IDLE_SECONDS = 1.0
"""A client that has not called after this time needs less."""
FULL_SECONDS = 1.0
"""A connection that has used up its bytes is closed after this time, in which the server checks
the key of its call."""
PATIENCE_SECONDS = 2.0
"""A connection is not closed for another one of the same address before this time."""
CHECK_SECONDS = 0.5
"""Time between two checks while there are newcomers."""
WAITING_BYTES = 512
"""Of a connection that waits. With so little it is not read."""
EARLY_BYTES = 2560
"""A connection that has sent more before it had to wait is closed. The first message of a TLS
handshake is smaller."""
RETRY_SECONDS = 0.02
"""The same while some of them wait."""

log = logging.getLogger(__name__)


class Limited(Protocol):
    """A connection whose bytes are limited: `LimitedConnection`, `CountedConnection`."""

    def limit(self, most: int) -> None:
        """Let `most` bytes pass. Raises OSError, UnknownStream."""

    def received(self) -> int:
        """Return the bytes so far. Raises OSError."""

    def open(self) -> None:
        """Let it be read. Raises OSError."""

    def lift(self) -> None:
        """Remove the limit. Raises OSError."""

    def shut_down(self) -> None:
        """End it. Raises OSError."""

    def close(self) -> None:
        """Release what was needed to limit it."""


@dataclass(slots=True)
class _Newcomer:
    connection: Limited
    peer: str
    caller: str
    since: float
    granted: int = 0
    """Bytes; 0 while it waits."""
    is_limited: bool = False
    """Whether the kernel limits its bytes while it waits."""
    full_since: float | None = None
    """Time at which it was seen to have used them up; `None` if it has not."""


class Newcomers:
    """The connections that have neither presented a valid key nor become old. Used from the event
    loop."""

    def __init__(
        self, is_trusted: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`is_trusted`: whether an address is a trusted proxy's. Their connections carry the calls
        of others, and they acknowledge settings. `clock` returns monotonic seconds."""
        self._is_trusted = is_trusted
        self._clock = clock
        self._admitted: dict[str, _Newcomer] = {}
        """Peer → a connection that is read, the oldest first."""
        self._waiting: dict[str, dict[str, _Newcomer]] = {}
        """Caller → peer → a connection that is not read yet, the oldest first."""
        self._accepted: set[str] = set()
        """Peers whose keys were accepted since the last look at all connections."""
        self._ended: deque[tuple[float, str, int]] = deque()
        """When they are forgotten, the caller and the bytes of connections that have ended."""
        self._used = Counter[str]()
        """Bytes of each caller: granted, or of connections that have ended."""
        self._blamed: frozenset[str] = frozenset()
        """Callers whose connections were closed at the last check; each is logged once."""

    def arrive(self, peer: str, connection: Limited) -> None:
        """Take up a new connection, which is not read yet. `peer`: as gRPC names it."""
        address = address_of(peer)
        caller = caller_of(address)
        if (earlier := self._known(peer, caller)) is not None:
            # Its client has ended it and has the same port again, or connects to another address of
            # this host.
            self._end_forcibly(earlier)
        newcomer = _Newcomer(connection, peer, caller, self._clock())
        if peer in self._accepted or self._is_trusted(address):
            self._try(newcomer, connection.open)
            connection.close()
        else:
            self._waiting.setdefault(caller, {})[peer] = newcomer

    def accept(self, peer: str) -> None:
        """Lift the limit: a call over this connection presented a valid key."""
        newcomer = self._admitted.pop(peer, None)
        if newcomer is None:
            # It may also have been read before it arrived here.
            self._accepted.add(peer)
            if not self._waiting:
                return
            newcomer = self._waiting.get(caller_of(address_of(peer)), {}).get(peer)
            if newcomer is None:
                return
            self._remove_waiting(newcomer)
            self._try(newcomer, newcomer.connection.open)
        self._release(newcomer)

    def all_arrived(self) -> None:
        """Note that every connection that has been read until now has arrived."""
        self._accepted.clear()

    def end(self, peer: str) -> None:
        """Note that this connection has ended."""
        newcomer = self._admitted.pop(peer, None)
        if newcomer is not None:
            self._spend(newcomer)
            return
        newcomer = self._waiting.get(caller_of(address_of(peer)), {}).get(peer)
        if newcomer is not None:
            self._remove_waiting(newcomer)
            newcomer.connection.close()

    def check(self) -> float | None:
        """Admit those that wait, and release or close those whose time is over. Return the seconds
        until the next check; `None` if there are no newcomers."""
        now = self._clock()
        while self._ended and self._ended[0][0] <= now:
            _, caller, size = self._ended.popleft()
            self._give_back(caller, size)
        for peer, newcomer in list(self._admitted.items()):
            if now - newcomer.since >= NEW_SECONDS:
                self.accept(peer)
        self._close_full(now)
        while sum(self._admit_first(caller, now) for caller in self._callers()):
            pass
        self._limit_waiting()
        if self._waiting:
            return RETRY_SECONDS
        return CHECK_SECONDS if self._admitted else None

    def close(self) -> None:
        """Release all connections."""
        for waiting in self._waiting.values():
            for newcomer in waiting.values():
                newcomer.connection.close()
        for newcomer in self._admitted.values():
            newcomer.connection.close()
        self._waiting.clear()
        self._admitted.clear()

    def _limit_waiting(self) -> None:
        """Let little of those pass that have to wait, and close those that have sent more."""
        for newcomer in [each for waiting in self._waiting.values() for each in waiting.values()]:
            if newcomer.is_limited:
                continue
            newcomer.is_limited = True
            connection = newcomer.connection
            limit = partial(connection.limit, WAITING_BYTES)
            if not self._try(newcomer, limit) or _received(connection) > EARLY_BYTES:
                self._end_forcibly(newcomer)

    def _remove_waiting(self, newcomer: _Newcomer) -> None:
        waiting = self._waiting[newcomer.caller]
        del waiting[newcomer.peer]
        if not waiting:
            del self._waiting[newcomer.caller]

    def _callers(self) -> Iterable[str]:
        """Return those with waiting connections, the one that has least first."""
        return sorted(self._waiting, key=lambda caller: self._used[caller])

    def _admit_first(self, caller: str, now: float) -> bool:
        """Admit the caller's oldest waiting connection; return whether there was room."""
        self._take_unused(now - (IDLE_SECONDS if self._room(caller) >= LEAST_BYTES else 0))
        if self._room(caller) < LEAST_BYTES:
            self._close_oldest(caller, now)
        if self._room(caller) < LEAST_BYTES:
            return False
        waiting = self._waiting[caller]
        peer, newcomer = next(iter(waiting.items()))
        self._remove_waiting(newcomer)
        newcomer.since = now
        self._admitted[peer] = newcomer
        limit = partial(self._grant, newcomer, FIRST_BYTES if self._is_quiet() else LEAST_BYTES)
        if not self._try(newcomer, limit, newcomer.connection.open):
            self._end_forcibly(newcomer)
        return True

    def _room(self, caller: str) -> int:
        return min(BYTES_BY_ADDRESS - self._used[caller], BYTES_IN_ALL - self._used.total())

    def _is_quiet(self) -> bool:
        return self._used.total() <= QUIET_BYTES

    def _grant(self, newcomer: _Newcomer, size: int) -> None:
        """Set the limit, and count what came before it was set."""
        newcomer.connection.limit(size)
        self._give_back(newcomer.caller, newcomer.granted)
        newcomer.granted = max(size, newcomer.connection.received())
        self._used[newcomer.caller] += newcomer.granted

    def _take_unused(self, before: float) -> None:
        """Leave less to the connections since before then."""
        for newcomer in self._admitted.values():
            if newcomer.granted == FIRST_BYTES and newcomer.since <= before:
                self._try(newcomer, partial(self._grant, newcomer, LEAST_BYTES))

    def _close_oldest(self, caller: str, now: float) -> None:
        """Close a connection of the caller, or of the one that has most if its address has room."""
        of_address = BYTES_BY_ADDRESS - self._used[caller] < LEAST_BYTES
        most = caller if of_address else max(self._used, key=lambda each: self._used[each])
        for newcomer in self._admitted.values():
            if newcomer.caller == most:
                is_old = now - newcomer.since >= PATIENCE_SECONDS
                if is_old or self._used[most] > self._used[caller] + LEAST_BYTES:
                    self._end_forcibly(newcomer)
                return

    def _close_full(self, now: float) -> None:
        over = set()
        for newcomer in list(self._admitted.values()):
            if not self._try(newcomer, partial(self._see_whether_full, newcomer, now)):
                self._end_forcibly(newcomer)
            elif newcomer.full_since is not None and now - newcomer.full_since >= FULL_SECONDS:
                over.add(newcomer.caller)
                self._end_forcibly(newcomer)
        if first := sorted(over - self._blamed):
            others = f" and {len(first) - 1} others" if len(first) > 1 else ""
            message = "too many bytes over gRPC without a valid key: closed connections of %s%s"
            log.warning(message, first[0], others)
        self._blamed = frozenset(over)

    def _see_whether_full(self, newcomer: _Newcomer, now: float) -> None:
        if newcomer.connection.received() < newcomer.granted:
            return
        if newcomer.granted < FIRST_BYTES and self._is_quiet():
            self._grant(newcomer, FIRST_BYTES)
        elif newcomer.full_since is None:
            newcomer.full_since = now

    def _known(self, peer: str, caller: str) -> _Newcomer | None:
        return self._admitted.get(peer) or self._waiting.get(caller, {}).get(peer)

    def _end_forcibly(self, newcomer: _Newcomer) -> None:
        if self._admitted.pop(newcomer.peer, None) is None:
            self._remove_waiting(newcomer)
        self._try(newcomer, newcomer.connection.shut_down)
        self._spend(newcomer)

    def _spend(self, newcomer: _Newcomer) -> None:
        """Release a connection that has ended. What it sent counts a little longer."""
        self._give_back(newcomer.caller, newcomer.granted)
        sent = _received(newcomer.connection)
        newcomer.connection.close()
        self._used[newcomer.caller] += sent
        self._ended.append((self._clock() + FORGET_SECONDS, newcomer.caller, sent))

    def _release(self, newcomer: _Newcomer) -> None:
        self._give_back(newcomer.caller, newcomer.granted)
        self._try(newcomer, newcomer.connection.lift)
        newcomer.connection.close()

    def _give_back(self, caller: str, size: int) -> None:
        self._used[caller] -= size
        if self._used[caller] <= 0:
            del self._used[caller]

    def _try(self, newcomer: _Newcomer, *steps: Callable[[], None]) -> bool:
        """Return whether all steps could be done: the connection may have ended in the meantime."""
        try:
            for step in steps:
                step()
        except UnknownStream:
            log.warning("closed a gRPC connection of %s: unknown TCP stream", newcomer.caller)
            return False
        except OSError:
            return False
        return True


def _received(connection: Limited) -> int:
    try:
        return connection.received()
    except OSError:
        return FIRST_BYTES
