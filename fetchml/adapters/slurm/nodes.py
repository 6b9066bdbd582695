"""Nodes as Slurm reports them, over REST and by `scontrol show node`."""

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from fetchml.adapters.slurm.job import indexes_in
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.ports.cluster import Node
from fetchml.system.background import BackgroundWork

log = logging.getLogger(__name__)

_NO_WORK = frozenset(
    [
        "BLOCKED",
        "DOWN",
        "DRAIN",
        "DRAINED",
        "DRAINING",
        "ERROR",
        "FAIL",
        "FAILING",
        "FUTURE",
        "MAINT",
        "MAINTENANCE",
        "NOT_RESPONDING",
        "POWERING_DOWN",
        "REBOOT_ISSUED",
        "UNKNOWN",
    ]
)
_NONE = ("(null)", "N/A", "")
_WORD = re.compile(r"(?:^| )([A-Za-z:/]+)=")
_WRITTEN_BY = re.compile(r"^(.*?)(?: \[([^\[\]@]+)@[^\]]*\])?$", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_MOST_GPUS = 256
"""Of one node."""
_REASON_CHARACTERS = 300


def takes_work(state: Iterable[str]) -> bool:
    return not {word.strip("*~#!%$@^-+") for word in state} & _NO_WORK


class NodeEntry(msgspec.Struct):
    """A node by the fields of slurmrestd."""

    name: str = ""
    state: tuple[str, ...] = ()
    reason: str = ""
    reason_set_by_user: str = ""
    cpus: int = 0
    alloc_cpus: int = 0
    real_memory: int = 0
    alloc_memory: int = 0
    gres: str = ""
    gres_used: str = ""
    partitions: tuple[str, ...] = ()
    address: str = ""

    def node(self) -> Node:
        state = tuple(word.upper() for word in self.state) or ("UNKNOWN",)
        is_usable = takes_work(state)
        count, kind, _ = _gpus(self.gres)
        used, _, indexes = _gpus(self.gres_used)
        reason = "".join(c if c.isprintable() else " " for c in self.reason)
        return Node(
            self.name,
            state,
            is_usable,
            reason=None if is_usable else reason[:_REASON_CHARACTERS].strip() or None,
            reason_by=None if is_usable else self.reason_set_by_user or None,
            cpu=self.cpus,
            cpu_used=self.alloc_cpus,
            memory_mb=self.real_memory,
            memory_used_mb=self.alloc_memory,
            gpu=count,
            gpu_used=min(used, count),
            gpu_indexes_used=indexes
            if indexes is None
            else tuple(sorted(n for n in indexes if n < count)),
            gpu_name=kind,
            partitions=self.partitions,
            address=self.address if _ADDRESS.fullmatch(self.address) else "",
        )


def of_scontrol(text: str) -> list[Node]:
    """Convert the output of `scontrol show node -d --oneliner`."""
    return [_of_line(line) for line in text.split("\n") if line.startswith("NodeName=")]


def _of_line(line: str) -> Node:
    # The reason is last, and free text.
    line, _, reason = line.partition(" Reason=")
    words = defaultdict(str, _words(line))
    written = _WRITTEN_BY.match(reason.rstrip())
    return NodeEntry(
        words["NodeName"],
        tuple(filter(None, words["State"].split("+"))),
        reason=written[1] if written else "",
        reason_set_by_user=written[2] or "" if written else "",
        cpus=_whole(words["CPUTot"]),
        alloc_cpus=_whole(words["CPUAlloc"]),
        real_memory=_whole(words["RealMemory"]),
        alloc_memory=_whole(words["AllocMem"]),
        gres=words["Gres"],
        gres_used=words["GresUsed"],
        partitions=tuple(filter(None, words["Partitions"].split(","))),
        address=words["NodeAddr"],
    ).node()


def _words(line: str) -> Iterator[tuple[str, str]]:
    words = list(_WORD.finditer(line))
    for word, following in zip(words, [*words[1:], None], strict=True):
        value = line[word.end() : following.start() if following else len(line)].strip()
        yield word[1], "" if value in _NONE else value


def _gpus(gres: str) -> tuple[int, str, frozenset[int] | None]:
    """Count the GPUs in `gpu:a100:4(IDX:0-1,3),gpu:h100:2(S:0)`. Return also their types, and the
    indexes after `IDX`; `None` if there are none."""
    count, kinds = 0, list[str]()
    indexes: frozenset[int] | None = None
    for entry in re.split(r",(?![^(]*\))", gres):
        word, _, detail = entry.partition("(")
        name, *rest = word.strip().split(":")
        if name != "gpu":
            continue
        number = rest[-1] if rest else "1"
        kinds += rest[:-1]
        if not number.isdecimal():  # `gpu:a100`: one.
            kinds, number = [*kinds, number], "1"
        count += int(number[:6])
        if detail.startswith("IDX:"):
            indexes = (indexes or frozenset()).union(indexes_in(detail[4:].rstrip(")")))
    return min(count, _MOST_GPUS), "+".join(dict.fromkeys(kinds)), indexes


def _whole(text: str) -> int:
    return int(text[:12]) if text.isdecimal() else 0


IDLE_SECONDS = 30.0
"""Interval of the requests while no caller asks."""
FRESH_SECONDS = 2.0
"""Age at which a reply is requested again once a caller asks."""
SHARE = 50
"""A request that takes long is repeated after this many times as long."""
_SILENT = ("DOWN", "NOT_RESPONDING")


class NodeWatch:
    """Requests the cluster's nodes: rarely by itself, soon after a caller asked. Used from one
    event loop."""

    def __init__(
        self,
        request: Callable[[], Awaitable[list[Node]]],
        *,
        answers: asyncio.Event,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        """`request`: raises SlurmAway. `answers`: set while Slurm answers."""
        self._fresh_seconds = fresh_seconds
        self._request = request
        self._answers = answers
        self._nodes: tuple[Node, ...] = ()
        self._wanted = asyncio.Event()
        self._background = BackgroundWork()

    @property
    def workers(self) -> int:
        """Number of nodes that take work."""
        return sum(node.takes_work for node in self.nodes())

    async def open(self) -> None:
        """Request the nodes once, and again at intervals until `close`."""
        pause = await self._refresh() if self._answers.is_set() else 0.0
        self._background.start(self._repeat(pause))

    async def close(self) -> None:
        await self._background.cancel()

    def nodes(self) -> Sequence[Node]:
        """Return the nodes as last reported, by name, and request them again soon."""
        self._wanted.set()
        return self._nodes

    def address(self, name: str) -> str | None:
        """Return the address of a node; `None`, and a request soon, if it was not reported."""
        for node in self._nodes:
            if node.name == name and node.address:
                return node.address
        self._wanted.set()
        return None

    def is_silent(self, name: str) -> bool:
        """Whether Slurm last reported that a node does not respond. Requests the nodes soon."""
        self._wanted.set()
        states = [node.state for node in self._nodes if node.name == name]
        return any(word.startswith(_SILENT) or word.endswith("*") for word in sum(states, ()))

    async def _repeat(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            if pause:  # Else there was no reply yet.
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, IDLE_SECONDS - pause)):
                        await self._wanted.wait()
            await self._answers.wait()
            pause = await self._refresh()

    async def _refresh(self) -> float:
        """Return the seconds until the next request may begin."""
        self._wanted.clear()
        began = time.monotonic()
        try:
            self._nodes = tuple(sorted(await self._request(), key=lambda node: node.name))
        except SlurmAway as error:
            log.info("Slurm did not report its nodes: %s", error)
        except Exception:
            log.exception("invalid reply of Slurm about its nodes")
        return max(self._fresh_seconds, SHARE * (time.monotonic() - began))
