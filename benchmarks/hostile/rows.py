"""The attacks, in the order of their report."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.hostile import calls, container, disk, edge, requests
from benchmarks.hostile.attack import Outcome, Prepared
from benchmarks.processes import NO_QUOTAS, Server
from fetchml.adapters.duckdb.store import MEMORY_BYTES
from fetchml.api.grpc.receiving import MAX_MESSAGE_BYTES, PLACES_BY_KEY
from fetchml.api.http.reply import REPLIES_BY_CALLER
from fetchml.config.settings import QuotaSettings

MIB = 1 << 20
UNREAD_MIB = 2 * REPLIES_BY_CALLER // MIB
"""A key's budget of unread replies, and as much for pages while they are made."""
VIEWER_MIB = PLACES_BY_KEY * MAX_MESSAGE_BYTES // MIB + 50
"""A key's unfinished messages, and what 100 connections take without a key."""
QUEUE_MIB = QuotaSettings().user_queued_mb + MEMORY_BYTES // MIB
"""A user's quota of waiting tasks, and what the database may take."""
SNAPSHOT_MIB = 64


class Row(NamedTuple):
    claim: str
    prepared: Prepared
    before: str
    """What it cost without limits."""
    most_mib: int | None = None
    """Target for the growth of the memory; `None` if the attack is not on the memory."""
    on_loop: bool = False
    """Whether the attack is on the event loop: it is repeated for some time, and has a target for
    the longest turn."""
    settings: Mapping[str, str] = {}
    after: Callable[[Server], Outcome] | None = None
    """What is left after the next start of the server; `None` if that is not looked at."""
    in_container: bool = False


ROWS = (
    Row(
        "500 HTTP connections, each with 1 MB of an unfinished head, no key",
        requests.unfinished_heads,
        "+1,000 MiB",
        most_mib=100,
    ),
    Row(
        "100 gRPC calls, each with an unfinished message of 16 MiB, no key",
        calls.unfinished_messages,
        "+1,600 MiB",
        most_mib=50,
    ),
    Row(
        "100 gRPC calls of a viewer, each with an unfinished message of 1 MiB",
        calls.viewers_messages,
        "kept for ever",
        most_mib=VIEWER_MIB,
    ),
    Row(
        "12 lists of 60 tasks of 250 KB that nobody reads",
        requests.unread_lists,
        "+2,350 MiB with lists of 1,000",
        most_mib=UNREAD_MIB,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "the same lists over gRPC",
        calls.unread_lists,
        "not measured",
        most_mib=UNREAD_MIB,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "400 tasks of 250 KB of one user, that wait",
        requests.queued_tasks,
        "all users get 503",
        most_mib=QUEUE_MIB,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "210 addresses, each with 50 Health/Watch streams, no key",
        calls.health_watches,
        "all calls of others fail",
        most_mib=100,
        settings={"trusted_proxies": "127.0.0.0/8"},
    ),
    Row(
        "200 logins at a Jupyter service that never send their body, no token",
        requests.slow_logins,
        "the owner is locked out",
        most_mib=32,
        settings=requests.JUPYTER,
    ),
    Row(
        "15 sockets to a Jupyter service that sends messages of 32 MiB, which nobody reads",
        requests.unread_messages,
        "+1,900 MiB",
        most_mib=32,
        settings=requests.JUPYTER,
    ),
    Row(
        "args of a quote and 32,764 emoji",
        requests.quoted_emoji,
        "0.5 s",
        on_loop=True,
    ),
    Row(
        "60 datasets with long mount paths",
        requests.long_mount_paths,
        "not measured",
        on_loop=True,
    ),
    Row(
        "15 MB of refused batches over gRPC, in messages of 1 MB, one after the other",
        calls.refused_batch,
        "5.8 s for one message",
        on_loop=True,
    ),
    Row(
        "the same, all 15 at once",
        calls.refused_batches,
        "not measured",
        on_loop=True,
    ),
    Row(
        "a list of 60 tasks of 250 KB, which is read",
        requests.large_list,
        "38 ms",
        on_loop=True,
        settings={"tasks_max_running": "1"},
    ),
    Row(
        "batches of 10,000 accepted tasks over gRPC, one after the other",
        calls.accepted_batches,
        "120 ms",
        on_loop=True,
        settings={"tasks_max_running": "1", **NO_QUOTAS},
    ),
    Row(
        "sweeps of 10,000 tasks, one after the other",
        requests.large_sweeps,
        "120 ms",
        on_loop=True,
        settings={"tasks_max_running": "1", **NO_QUOTAS},
    ),
    Row(
        "watches that match none of 100,000 waiting tasks",
        calls.empty_watches,
        "not measured",
        on_loop=True,
        settings={"tasks_max_running": "1", **NO_QUOTAS},
    ),
    Row(
        "8 tasks with 40,000 empty outputs each",
        disk.empty_outputs,
        "others' lists of outputs wait 17 s",
    ),
    Row(
        "700 experiments created and deleted, with room for 1,000 audit entries",
        disk.experiments,
        "key.create is gone from the audit",
        settings={"history_audit_rows": str(disk.AUDIT_ROWS)},
        after=disk.audit_after,
    ),
    Row(
        f"archives of {disk.SNAPSHOT_MIB} MB of zeros, user_storage_gb = {disk.STORAGE_GB}",
        disk.snapshots,
        "5,000 times, until the disk is full",
        most_mib=SNAPSHOT_MIB,
        settings={"quotas_user_storage_gb": str(disk.STORAGE_GB)},
    ),
    Row(
        "4,000 requests without a key through Envoy",
        edge.flood,
        "/jupyter/ and /ws answer 429 to all",
        settings={"trusted_proxies": "127.0.0.0/8"},
    ),
    Row(
        f"a container without limits in its request, max_memory_gb = {container.MEMORY_GB}",
        container.memory_without_request,
        "it takes the host's memory",
        settings={"tasks_max_memory_gb": str(container.MEMORY_GB), "tasks_network": "none"},
        in_container=True,
    ),
)
