"""The most memory that all callers together can occupy, limit by limit.

Each limit is enforced where its resource is used; this table imports the numbers. `fetchml doctor`
shows the sum, and a test compares it with what the systemd unit grants.
"""

from typing import NamedTuple

from fetchml import pages
from fetchml.access import places
from fetchml.adapters.duckdb import readers, store
from fetchml.adapters.jupyter import link
from fetchml.api.grpc import handler, receiving, sending, server, tasks
from fetchml.api.http import connection, reply
from fetchml.api.jupyter import visitors
from fetchml.auth import port_visits, sessions, sign_in_codes
from fetchml.config.settings import Settings
from fetchml.core import quotas
from fetchml.core.model import ENDED
from fetchml.core.notifications import turns
from fetchml.core.packing import peaks
from fetchml.core.sweeps import limits
from fetchml.engine import feed, task_index
from fetchml.engine.sweeps import service
from fetchml.files import output_archives
from fetchml.notifications import outbox
from fetchml.user_secrets import service as user_secrets

PROCESS_BYTES = 256 << 20
"""The interpreter, the libraries, and their data without any caller."""

CLUSTER_GIB = 7
"""Above the sum of all limits over a cluster, whose service has no `MemoryMax`: docs/cluster.md."""


class MemoryBound(NamedTuple):
    """A resource that callers can use up, and the most memory that it can take."""

    name: str
    most_bytes: int


def memory_bounds(settings: Settings) -> tuple[MemoryBound, ...]:
    """Return every bound under these settings."""
    on_nodes = settings.server.launcher == "slurm"
    return (
        MemoryBound("the program itself", PROCESS_BYTES),
        MemoryBound("the database", store.MEMORY_BYTES),
        MemoryBound(
            "pages, searches and histories that are read",
            (readers.READERS + readers.SLOW_READERS) * pages.PAGE_BYTES,
        ),
        MemoryBound("tasks that have not ended", quotas.MAX_LIVE_BYTES),
        MemoryBound("the newest tasks that have ended", len(ENDED) * task_index.RECENT_BYTES),
        MemoryBound("sweeps", limits.MAX_SWEEPS * service.SWEEP_BYTES),
        MemoryBound("tasks of one sweep that are made", service.MAX_TASK_BYTES),
        MemoryBound("peaks of GPU memory by job", peaks.MOST * peaks.JOB_BYTES),
        MemoryBound("secrets of users", user_secrets.MOST_MEMORY),
        MemoryBound("notifications", outbox.OutboxLimits().in_all * outbox.ROW_BYTES),
        MemoryBound("webhooks that are sent", turns.IN_ALL * link.TLS_BYTES),
        MemoryBound("the newest changes", feed.KEPT_BYTES),
        MemoryBound(
            "HTTP connections", settings.server.max_connections * connection.CONNECTION_BYTES
        ),
        MemoryBound("bodies of HTTP requests", reply.BODIES_IN_ALL),
        MemoryBound("HTTP replies that are not read", reply.REPLIES_IN_ALL),
        MemoryBound(
            "requests and sockets of Jupyter services",
            (visitors.OPEN_IN_ALL + visitors.ANONYMOUS_IN_ALL)
            * (visitors.EXCHANGE_BYTES + (link.TLS_BYTES if on_nodes else 0)),
        ),
        MemoryBound("gRPC connections", settings.server.max_connections * server.CONNECTION_BYTES),
        MemoryBound(
            "sessions of the page, sign-in codes, visits to ports of tasks",
            (sessions.SESSIONS_IN_ALL + sign_in_codes.CODES_IN_ALL + port_visits.VISITS_IN_ALL)
            * sessions.SESSION_BYTES,
        ),
        MemoryBound("gRPC messages that are not complete", receiving.IN_ALL_BYTES),
        MemoryBound(
            "commands in running tasks, and connections to their ports",
            (places.SESSIONS_IN_ALL + places.CONNECTIONS_IN_ALL)
            * (
                places.ENTRY_BYTES
                + receiving.MAX_MESSAGE_BYTES
                + (link.TLS_BYTES if on_nodes else 0)
            )
            + (places.PORTS_IN_ALL * link.TLS_BYTES if on_nodes else 0),
        ),
        MemoryBound("gRPC messages that calls work on", handler.MESSAGES_IN_ALL),
        MemoryBound(
            "small messages and replies of gRPC calls",
            server.MAX_CALLS * (receiving.UNREAD_BYTES + sending.SMALL_BYTES),
        ),
        MemoryBound(
            "gRPC's lists that are made",
            (tasks.MAX_CONCURRENT_PAGES + tasks.MAX_CONCURRENT_SEARCHES) * tasks.PAGE_MEMORY_BYTES,
        ),
        MemoryBound(
            "archives of outputs that are written",
            output_archives.IN_ALL * output_archives.ARCHIVE_BYTES,
        ),
        MemoryBound("gRPC replies that are not read", sending.REPLIES_IN_ALL),
    )


def total_bytes(settings: Settings) -> int:
    """Return the sum of all bounds."""
    return sum(bound.most_bytes for bound in memory_bounds(settings))
