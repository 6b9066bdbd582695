"""Makes what records runs, and what lets tasks log to them."""

from typing import NamedTuple

from fetchml.attempts.hosts import TaskHost
from fetchml.auth.audit import Audit
from fetchml.engine.experiments import Experiments, KnownExperiments
from fetchml.engine.slow_reads import SlowReads
from fetchml.engine.task_lookup import TaskLookup
from fetchml.files.layout import TRACKING_KEY
from fetchml.files.own_file import load_key
from fetchml.ports.store import Store
from fetchml.server.options import Options
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.tracking.collector import Collector
from fetchml.tracking.task_access import TaskTracking
from fetchml.tracking.task_tokens import TaskTokens
from fetchml.tracking.tracking_service import Tracking


class TrackingParts(NamedTuple):
    service: Tracking
    collector: Collector
    tokens: TaskTokens
    access: TaskTracking


async def assemble_tracking(
    store: Store,
    options: Options,
    host: TaskHost,
    lookup: TaskLookup,
    known: KnownExperiments,
    experiments: Experiments,
    audit: Audit,
    slow_reads: SlowReads,
    *,
    clock: Clock,
    ids: IdSequence,
) -> TrackingParts:
    """Raises OSError."""
    service = await Tracking.load(
        store, experiments, audit, slow_reads, clock=clock, ids=ids, private=options.private
    )
    collector = Collector(service, host, lookup.find, clock=clock, enabled=options.reads_metrics)
    store.subscribe(collector.committed)
    tokens = TaskTokens(load_key(options.data_dir / TRACKING_KEY))
    access = TaskTracking(options.task_url, tokens, known.records)
    return TrackingParts(service, collector, tokens, access)
