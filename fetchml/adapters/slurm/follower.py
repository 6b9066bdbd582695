"""Follows the jobs of this server by cheap, bounded polls of Slurm."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fetchml.adapters.slurm.job import Job, JobId, number_of
from fetchml.adapters.slurm.transport import AccountAway, SlurmAway, SlurmTransport
from fetchml.system.background import BackgroundWork

POLL_SECONDS = 0.5
"""At most two polls in a second."""
SHARE = 4
"""A poll that takes long is repeated after this many times as long: a slow controller must not
become slower."""
AWAY_SECONDS = 2.0
"""Between two tries to reach a controller that is away."""
CHECKS_AT_ONCE = 8
MOST_CHECKS = 500
"""Jobs that one poll requests one by one; the rest waits for the next poll."""
REASONS_EACH_POLL = 2
"""Pending jobs whose reason is asked for again with each poll, in turn."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Followed:
    """One attempt's job."""

    name: str
    job: Job | None = None
    """As last reported, with its name compared; `None` if there is none, or it was lost."""
    last: Job | None = None
    """The last report, also once Slurm has dropped the job; `None` if there was none."""
    is_checked: bool = False
    """Whether `job` was reported since Slurm last failed to answer: a controller that crashed may
    have given its id to another."""
    since: float = 0.0
    """When the job was submitted or found. Replies to earlier requests are ignored."""
    searched_at: float = float("-inf")
    """When the job was last searched for by its name."""
    number: JobId = 0
    """Id of its newest job; 0 if it had none yet. Jobs of Slurm count from 1."""
    array_task: str = ""
    """The name that its job may have as a task of an array; empty if it was never part of one."""
    is_new: bool = False
    """Whether it was just handed over, so that it has no records yet."""
    is_missing: bool = False
    """Whether Slurm had no job with this name at the last search."""
    is_uncertain: bool = False
    """Whether there may be more than one job."""
    is_stopping: bool = False
    """Whether the attempt was asked to stop."""
    held_back: str = ""
    """Slurm's reason to refuse the job for now; empty if it does not."""
    lease_seconds: int = 0
    """Of the attempt's lease; 0 if it has none, or its record was not read yet."""
    user: str = ""
    """Name of the user's account that the job belongs to; empty for the server's own."""
    owner: str = ""
    """Name of the account that the job belongs to; empty if that cannot be determined."""
    others: frozenset[str] = frozenset()
    """Without `owner`: accounts that the job does not belong to."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def owns(self, job: Job) -> bool:
        """Whether a reported job is one of the attempt's. Any user of the cluster can give theirs
        its name."""
        if not job.name or job.name not in (self.name, self.array_task):
            return False
        if not self.owner:
            return job.user not in self.others
        return not job.user or job.user == self.owner

    def take(self, job: Job | None, since: float | None = None) -> None:
        if since is not None:
            self.since = since
        if job != self.job:
            self.changed.set()
        self.job = job
        self.is_checked = job is not None
        if job is not None:
            self.last = job
            self.is_missing = False

    def lose(self) -> None:
        """Note that the job is not the one with its id any more."""
        self.take(None)


class Follower:
    """Used from one event loop."""

    def __init__(
        self,
        transport: SlurmTransport,
        *,
        seen: Callable[[], None],
        away: Callable[[str], None],
        returned: Callable[[], None] = lambda: None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`seen`, `away`: called after each successful poll, and after each failed one with the
        reason. `returned`: called before `seen` at the first success after a failure."""
        self._transport = transport
        self._seen = seen
        self._away = away
        self._returned = returned
        self._poll_seconds = poll_seconds
        self._followed: dict[str, Followed] = {}
        self._by_id: dict[JobId, Followed] = {}
        """The newest entry that was given a job with this id."""
        self._turn = 0
        self._polled_at = float("-inf")
        self._background = BackgroundWork()
        self.answers = asyncio.Event()
        """Set while Slurm answers."""

    async def open(self) -> None:
        """Poll once, and go on until `close`."""
        pause = await self._poll_safely()
        self._background.start(self._repeat(pause))

    async def close(self) -> None:
        await self._background.cancel()

    def follow(
        self, name: str, user: str = "", owner: str = "", others: frozenset[str] = frozenset()
    ) -> Followed:
        """Return the entry of an attempt's job, the same for every call. `user`, `owner`, `others`:
        see Followed."""
        followed = self._followed.get(name)
        if followed is None:
            followed = Followed(name, user=user, owner=owner or user, others=others)
            self._followed[name] = followed
        return followed

    def get(self, name: str) -> Followed | None:
        return self._followed.get(name)

    def job(self, name: str) -> Job | None:
        """Return the job as last reported; `None` if there is none, or it was lost."""
        followed = self._followed.get(name)
        return None if followed is None else followed.job

    def forget(self, name: str) -> None:
        followed = self._followed.pop(name, None)
        number: JobId = followed.number if followed is not None else 0
        if self._by_id.get(number) is followed:
            self._by_id.pop(number, None)

    def submitted(self, followed: Followed, job: Job) -> None:
        """Note the job of a new submit."""
        other = self._by_id.get(job.id)
        if other not in (None, followed) and other.job is not None and other.job.id == job.id:
            other.lose()  # Slurm has given an id out again: the earlier job was lost.
        self._by_id[job.id] = followed
        if followed.number != job.id and self._by_id.get(followed.number) is followed:
            del self._by_id[followed.number]
        followed.number = job.id
        followed.take(job, time.monotonic())

    async def refresh(self, followed: Followed) -> Job | None:
        """Return the job as it is now; `None` if there is none, or it was lost. Raises
        SlurmAway."""
        if followed.job is None:
            return None
        await self._check(followed)
        return followed.job

    async def _repeat(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            pause = await self._poll_safely()

    async def _poll_safely(self) -> float:
        """Return the seconds until the next poll."""
        began = time.monotonic()
        try:
            await self._poll(began)
        except SlurmAway as error:
            self._lost_contact(str(error))
            return AWAY_SECONDS
        except Exception:
            log.exception("invalid reply of Slurm")
            self._lost_contact("its reply is invalid; see the server's log")
            return AWAY_SECONDS
        if not self.answers.is_set():
            self.answers.set()
            self._returned()
        self._seen()
        return max(self._poll_seconds, SHARE * (time.monotonic() - began))

    def _lost_contact(self, why: str) -> None:
        self.answers.clear()
        for followed in self._followed.values():
            followed.is_checked = False
        self._away(why)

    async def _poll(self, began: float) -> None:
        if not self.answers.is_set():
            await self._transport.open()
            began = time.monotonic()
        if not self._followed and began - self._polled_at < AWAY_SECONDS:
            return  # Without jobs a poll only shows whether Slurm answers: less often.
        self._polled_at = began
        listed = await self._transport.states()
        unsure: list[Followed] = []
        pending: list[Followed] = []
        for followed in self._followed.values():
            job = followed.job
            if job is None or began <= followed.since:
                continue
            now = listed.get(job.id)
            if now is not None and followed.owns(now):
                followed.take(now)  # This reply has everything.
            elif (
                now is None
                or now.name is not None
                or now.state != job.state
                or not followed.is_checked
            ):
                unsure.append(followed)
            elif job.is_pending:
                pending.append(followed)
        await self._check_all(unsure[:MOST_CHECKS])
        await self._check_all(self._next(pending))

    def _next(self, pending: list[Followed]) -> Iterable[Followed]:
        """Return a few, in turn from one poll to the next."""
        self._turn += REASONS_EACH_POLL
        first = self._turn % len(pending) if pending else 0
        return (pending[first:] + pending[:first])[:REASONS_EACH_POLL]

    async def _check_all(self, followed: Iterable[Followed]) -> None:
        limit = asyncio.Semaphore(CHECKS_AT_ONCE)
        by_number: dict[int, list[Followed]] = {}
        for each in followed:
            by_number.setdefault(number_of(each.number), []).append(each)

        async def check(of_one_array: list[Followed]) -> None:
            async with limit:  # One request answers for all of them.
                await asyncio.gather(*map(self._check, of_one_array))

        await asyncio.gather(*map(check, by_number.values()))

    async def _check(self, followed: Followed) -> None:
        """Ask for the job by its id, and compare its name."""
        job, began = followed.job, time.monotonic()
        if job is None:
            return
        try:
            now = await self._transport.job(job.id, followed.user)
        except AccountAway:
            return  # The others may still be checked.
        if began <= followed.since or followed.job is None or followed.job.id != job.id:
            return  # It was submitted again meanwhile.
        if now is None or not followed.owns(now):
            followed.lose()
        else:
            followed.take(now)
