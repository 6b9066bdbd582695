"""Headers without end over gRPC. Each function prepares a server, and gives the attack."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.hostile.attack import Attack, Outcome
from benchmarks.processes import Server
from testbed.header_flood import attack as flood

MANY = 40


def of_one(server: Server) -> AbstractContextManager[Attack]:
    return _flood(server, 1)


def of_many(server: Server) -> AbstractContextManager[Attack]:
    return _flood(server, MANY)


@contextmanager
def _flood(server: Server, number: int) -> Iterator[Attack]:
    def attack() -> Outcome:
        return Outcome(f"{flood(server.grpc, number)} connections were closed")

    yield attack
