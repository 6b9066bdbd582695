"""Sends the outbox's messages when their time comes, and records what became of them."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fetchml.core.events import Deliver
from fetchml.core.notification_outbox import (
    FIRST_DELAY_MS,
    Channel,
    Delivery,
    DeliveryQueue,
    after_failure,
    expired,
    resent,
)
from fetchml.notifications.outbox import Outbox
from fetchml.ports.notifier import Message, NotDelivered, Notifier
from fetchml.ports.store import Store
from fetchml.system import failpoints
from fetchml.system.background import BackgroundWork, every

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SAVE_SECONDS = 0.05
"""Results of attempts are stored together, so long after the first. A crash in between sends these
messages again, with the same ids."""
LONGEST_WAIT_SECONDS = 60.0
UPKEEP_SECONDS = 3600.0

log = logging.getLogger(__name__)


class Sender:
    """Used from one event loop. Nothing is sent outside of `sending`."""

    def __init__(
        self,
        outbox: Outbox,
        store: Store,
        notifiers: Mapping[Channel, Notifier],
        *,
        clock: Callable[[], int],
        sign: Callable[[Delivery, int, bytes], str],
        render_sweep: Callable[[Delivery], str],
        jitter: Callable[[], float] = random.random,
        first_delay_ms: int = FIRST_DELAY_MS,
    ) -> None:
        """`sign`: the signatures of a message's body at a time (seconds). `render_sweep`: the body
        of a sweep's message. `first_delay_ms`: until the second attempt."""
        self._outbox = outbox
        self._store = store
        self._notifiers = notifiers
        self._clock = clock
        self._sign = sign
        self._render_sweep = render_sweep
        self._jitter = jitter
        self._first_delay_ms = first_delay_ms
        self._queue = DeliveryQueue()
        self._attempts = BackgroundWork()
        self._changed: dict[str, None] = {}
        """Ids of the rows that are to be stored."""
        self._saving: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self.delivered = 0
        """Since the server started, as are the two below."""
        self.failed_attempts = 0
        outbox.on_drop = self._queue.remove

    def deliver(self, effect: Deliver) -> None:
        """Send messages that have become durable."""
        self.add(effect.deliveries)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        for each in deliveries:
            if self._outbox.get(each.id) is not None:  # It may have been dropped meanwhile.
                self._queue.add(each)
        self._send_due()

    def send_again(self, delivery: Delivery) -> Delivery:
        """Send a pending message or a dead letter now, and return its new state."""
        if self._queue.is_sending(delivery.id):
            return delivery
        now = self._clock()
        renewed = resent(delivery, now)
        self._outbox.change(renewed)
        self._save(renewed.id)
        self._queue.add(renewed)
        self._send_due()
        return renewed

    @asynccontextmanager
    async def sending(self) -> "AsyncIterator[None]":
        """Send while inside."""
        self._open = True
        self._send_due()
        try:
            async with every(
                UPKEEP_SECONDS, self._forget_old, failure="removing old dead letters failed"
            ):
                yield
        finally:
            self._open = False
            if self._timer is not None:
                self._timer.cancel()
            await self._attempts.cancel()
            await self.save()
            for notifier in self._notifiers.values():
                await notifier.close()

    async def _forget_old(self) -> None:
        for each in self._outbox.old_dead(self._clock()):
            self._outbox.remove(each)
            self._save(each)

    def _send_due(self) -> None:
        if not self._open:
            return
        now = self._clock()
        due = self._queue.take(now)
        for each in due.expired:
            over = expired(each, now)
            self._outbox.change(over)
            self._save(over.id)
            self._log_dead_letter(over)
        for delivery in due.to_send:
            self._attempts.start(self._attempt(delivery))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self._queue.next_at()) is not None:
            # The wall clock may be set meanwhile.
            seconds = min(max(0, at - now) / 1000, LONGEST_WAIT_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._send_due)

    async def _attempt(self, delivery: Delivery) -> None:
        error: NotDelivered | None = None
        try:
            await self.send(delivery)
        except NotDelivered as failure:
            error = failure
        except Exception:
            log.exception("sending a message failed", extra={"delivery": delivery.id})
            error = NotDelivered("internal error: see the server's log")
        failpoints.reach("notified")
        self._queue.sent(delivery.id)
        if error is None:
            self.delivered += 1
            self._outbox.remove(delivery.id)
        else:
            self.failed_attempts += 1
            now = self._clock()
            after = after_failure(
                delivery,
                now,
                str(error),
                self._jitter(),
                permanent=error.permanent,
                not_before=now + error.retry_after_seconds * 1000,
                first_ms=self._first_delay_ms,
            )
            self._outbox.change(after)
            if after.dead_at is not None:
                self._log_dead_letter(after)
            elif self._outbox.get(after.id) is not None:  # It may have been dropped meanwhile.
                self._queue.add(after)
        self._save(delivery.id)
        self._send_due()

    async def send(self, delivery: Delivery) -> None:
        """Make one attempt, past the outbox. Raises NotDelivered."""
        notifier = self._notifiers.get(delivery.channel)
        if notifier is None:
            raise NotDelivered("the address is no longer in the server's settings", permanent=True)
        sent_at = self._clock() // 1000
        body = (delivery.body or self._render_sweep(delivery)).encode()
        signatures = self._sign(delivery, sent_at, body)
        await notifier.send(Message(delivery.id, delivery.url, body, sent_at, signatures))

    def _log_dead_letter(self, delivery: Delivery) -> None:
        log.warning(
            "a message was given up after %d attempts: %s",
            delivery.attempts,
            delivery.error,
            extra={"delivery": delivery.id, "task": delivery.task_id},
        )

    def _save(self, delivery_id: str) -> None:
        self._changed[delivery_id] = None
        if self._saving is None:
            loop = asyncio.get_running_loop()
            self._saving = loop.call_later(SAVE_SECONDS, self._store_rows)

    def _store_rows(self) -> asyncio.Future[None]:
        self._saving = None
        documents = [self._outbox.document(each) for each in self._changed]
        self._changed = {}
        return self._store.append([], documents=documents)

    async def save(self) -> None:
        """Return when everything so far is durable."""
        if self._saving is not None:
            self._saving.cancel()
        await asyncio.shield(self._store_rows())
