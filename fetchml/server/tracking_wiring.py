"""The parts of the server that track runs."""

from typing import NamedTuple

from fetchml.attempts.hosts import TaskHost
from fetchml.auth.audit import Audit
from fetchml.engine.experiments import Experiments, KnownExperiments
from fetchml.engine.slow_reads import SlowReads
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.task_lookup import TaskLookup
from fetchml.files.layout import TRACKING, TRACKING_KEY
from fetchml.files.own_file import load_key
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.store import Store
from fetchml.server.options import Options
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.tracking.artifacts import Artifacts
from fetchml.tracking.collector import Collector
from fetchml.tracking.live_tasks import LiveTasks
from fetchml.tracking.logged_models import LoggedModels
from fetchml.tracking.task_tokens import TaskTokens
from fetchml.tracking.task_variables import TaskTracking
from fetchml.tracking.tracking_service import Tracking


class TrackingParts(NamedTuple):
    runs: Tracking
    models: LoggedModels
    artifacts: Artifacts
    live_tasks: LiveTasks
    collector: Collector
    access: TaskTracking


async def tracking_parts(
    store: Store,
    options: Options,
    experiments: Experiments,
    index: TaskIndex,
    audit: Audit,
    usage: StorageUsage,
    slow_reads: SlowReads,
    *,
    known: KnownExperiments,
    lookup: TaskLookup,
    host: TaskHost,
    clock: Clock,
    ids: IdSequence,
) -> TrackingParts:
    """Read from the open store. Raises OSError. The collector hears of changes after all who have
    subscribed before."""
    private = options.private
    runs = await Tracking.load(
        store, experiments, audit, slow_reads, clock=clock, ids=ids, private=private
    )
    artifacts = Artifacts(options.data_dir / TRACKING, usage, store.has_room)
    models = await LoggedModels.load(store, artifacts.delete, clock=clock, private=private)
    tokens = TaskTokens(load_key(options.data_dir / TRACKING_KEY))
    collector = Collector(runs, host, lookup.find, clock=clock, enabled=options.reads_metrics)
    store.subscribe(collector.committed)
    access = TaskTracking(options.task_url, tokens, known.records)
    return TrackingParts(runs, models, artifacts, LiveTasks(tokens, index), collector, access)
