"""The order of construction: every object is made once, whole, from those made before it.

Only three things are registered later, each because two objects need each other: listeners of the
store, which hear of durable changes in the order below; handlers of the dispatcher, which carry out
the core's effects; and JupyterServices' own listener.
"""

from fetchml.access.service import TaskAccess
from fetchml.attempts.checkpoints import Checkpoints
from fetchml.attempts.hosts import ThisHost
from fetchml.attempts.manager import AttemptManager
from fetchml.attempts.ran_with import HostFacts
from fetchml.attempts.staging import Inputs
from fetchml.attempts.task_inputs import TaskInputs
from fetchml.auth.audit import Audit
from fetchml.engine.change_log import log_changes
from fetchml.engine.comparison import TaskComparison
from fetchml.engine.daily_counts import DailyCounts, day_of
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.engine import Engine
from fetchml.engine.engine_lifecycle import EngineLifecycle
from fetchml.engine.estimates import ClusterEstimates, RunTimes, SimulatedEstimates, WaitTimes
from fetchml.engine.experiments import Experiments, KnownExperiments
from fetchml.engine.feed import Feed
from fetchml.engine.gpus.activity import GpuActivity
from fetchml.engine.gpus.gpus import Gpus
from fetchml.engine.logs import LogThreads, TaskLogs
from fetchml.engine.monitored_tasks import monitored_tasks
from fetchml.engine.outputs import TaskOutputs
from fetchml.engine.server_information import Diagnosis, ServerInformation
from fetchml.engine.service_tasks import ServiceTasks
from fetchml.engine.share_store import ShareStore
from fetchml.engine.slow_reads import SlowReads
from fetchml.engine.snapshots_in_use import SnapshotsInUse
from fetchml.engine.status import ServerStatus
from fetchml.engine.submissions import Submissions
from fetchml.engine.sweep_records import KnownSweeps
from fetchml.engine.sweeps import SweepRanking, Sweeps
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.task_lookup import TaskLookup
from fetchml.engine.tasks.changes import TaskChanges
from fetchml.engine.tasks.dependencies import Dependencies, restored_state
from fetchml.engine.tasks.reruns import Reruns
from fetchml.engine.tasks.results import ResultLists
from fetchml.engine.tasks.tasks import Tasks
from fetchml.engine.tasks.time_limits import TimeLimits
from fetchml.engine.usage.history import UsageHistory
from fetchml.engine.usage.ledger import restored_ledger
from fetchml.engine.usage.sampler import UsageSampler
from fetchml.engine.watches.batches import Batches
from fetchml.engine.watches.watch import Watches
from fetchml.environments.package_lists import PackageLists
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_files import TaskFiles
from fetchml.files.volume_usage import VolumeUsage
from fetchml.history.history_service import History
from fetchml.history.whatif_service import WhatIfs
from fetchml.server.assembled import Assembly
from fetchml.server.effects import carry_out
from fetchml.server.jupyter_wiring import jupyter_services
from fetchml.server.notification_wiring import assemble_notifications
from fetchml.server.options import Options as Options  # noqa: PLC0414  # others import it from here
from fetchml.server.options import Outside as Outside  # noqa: PLC0414  # others import it from here
from fetchml.server.tracking_wiring import tracking_parts
from fetchml.snapshots.files import SnapshotFiles
from fetchml.snapshots.snapshot_service import Snapshots
from fetchml.system.clock import Clock
from fetchml.system.ids import IdSequence
from fetchml.user_secrets.secret_service import UserSecrets


async def assemble(outside: Outside, options: Options) -> Assembly:
    """Nothing runs yet on return: see `EngineLifecycle.start`. Raises OSError."""
    store, restored, private = outside.store, outside.restored, options.private
    host = outside.host
    # Stored state.
    experiment_index = await KnownExperiments.load(store, restored)
    sweeps = await KnownSweeps.load(store, restored)
    clock = Clock(
        max(
            (
                restored.last_created_at,
                *(each.created_at for each in (*experiment_index.records, *sweeps.records)),
            )
        )
    )
    ids = IdSequence(restored.last_created_at)
    files = TaskFiles(options.tasks_dir, host.reads)
    audit = Audit(store, clock_ms=clock)
    usage = StorageUsage(options.user_storage_bytes)
    usage.load(await store.kept_by_user())
    volumes = VolumeUsage(options.rules.volumes)
    shares = ShareStore(store, clock)
    state = await restored_state(
        store, restored, options.limits, await shares.load(restored, options.limits)
    )
    index = TaskIndex(restored)
    lookup = TaskLookup(index, store, private=private)
    feed = Feed(restored.last_seq)
    today = day_of(clock(), options.zone)
    counts = DailyCounts(options.zone, today, *await store.ended_on(today))
    recent = [task for ended in restored.recent.values() for task in ended]
    estimates = (
        SimulatedEstimates(state, RunTimes(recent), clock)
        if isinstance(host, ThisHost)
        else ClusterEstimates(state, WaitTimes(recent), clock, host.cluster.begins_at)
    )
    slow_reads = SlowReads()
    tasks = Tasks(
        lookup,
        index,
        store,
        state,
        host,
        estimates,
        slow_reads,
        clock=clock,
        private=private,
    )
    ledger = await restored_ledger(store, restored, options.zone, options.limits, clock)
    notifications = await assemble_notifications(
        store,
        options.notifications,
        options.data_dir,
        outside.notifiers,
        sweeps,
        audit,
        clock=clock,
        ids=ids,
    )
    # The core, and the receivers of durable changes.
    dispatcher = Dispatcher(state, store, restored.last_seq, clock, notifications.notices.write)
    for listener in (
        index.committed,
        sweeps.counts.committed,
        experiment_index.counts.committed,
        counts.committed,
        log_changes,
        feed.committed,
        dispatcher.committed,
        estimates.committed,
        usage.committed,
        ledger.committed,
    ):
        store.subscribe(listener)
    # Resources of requests.
    environments = outside.environments.make(options.data_dir, usage, clock)
    snapshots = Snapshots(
        store,
        SnapshotFiles(options.data_dir),
        options.snapshots,
        audit=audit,
        usage=usage,
        named=SnapshotsInUse(state, experiment_index.records),
    )
    secrets = await UserSecrets.load(store, audit, clock=clock, data_dir=options.data_dir)
    experiments = Experiments(
        experiment_index,
        store,
        audit,
        clock=clock,
        ids=ids,
        private=private,
        snapshot_exists=snapshots.exists,
    )
    dependencies = Dependencies(lookup, sweeps, state, dispatcher, store, private=private)
    submissions = Submissions(
        store,
        state,
        lookup,
        snapshots,
        outside.datasets,
        experiments,
        usage,
        dispatcher,
        tasks=tasks,
        dependencies=dependencies,
        environments=environments,
        estimates=estimates,
        secrets=secrets,
        volumes=volumes,
        clock=clock,
        ids=ids,
        rules=options.rules,
    )
    services = ServiceTasks(
        store,
        state,
        index,
        files,
        submissions,
        dispatcher,
        host,
        clock=clock,
        ids=ids,
        limits=options.rules.defaults.limits,
    )
    jupyter = jupyter_services(outside, options, services, usage, audit)
    # Execution of tasks.
    gpus = Gpus(
        store,
        state,
        audit,
        host,
        outside.inventory,
        report=dispatcher.apply,
        owner_of=outside.launcher.owner_of,
        output=files.output,
        clock=clock,
        private=private,
    )
    inputs = Inputs(
        snapshots,
        outside.datasets,
        TaskInputs(lookup.find, files),
        outside.owners,
        Checkpoints(lookup.find, files, usage, has_room=store.has_room),
        environments,
        secrets,
        PackageLists(store),
        workspace_of=jupyter.workspace_of,
        service_variables=jupyter.variables_of,
        service_folders=jupyter.folders,
        volumes=volumes,
    )
    tracked = await tracking_parts(
        store,
        options,
        experiments,
        index,
        audit,
        usage,
        slow_reads,
        known=experiment_index,
        lookup=lookup,
        host=host,
        clock=clock,
        ids=ids,
    )
    attempts = AttemptManager(
        outside.launcher,
        inputs,
        files,
        outside.folder_watch,
        options.runs,
        host,
        HostFacts(outside.inventory, host),
        clock=clock,
        report=dispatcher.apply,
        gpu_failure=gpus.failure,
        follow=tracked.collector.following,
        tracking=tracked.access.of,
    )
    carry_out(dispatcher, attempts, gpus, notifications.sender)
    sampler = UsageSampler(
        store,
        state,
        attempts,
        outside.launcher,
        host,
        outside.inventory,
        ledger,
        clock=clock,
        samples=options.samples,
    )
    lifecycle = EngineLifecycle(
        state,
        outside.launcher,
        inputs,
        gpus,
        attempts,
        shares,
        feed,
        dispatcher,
        clock=clock,
        instance_id=restored.instance_id,
    )
    # Services that the transports call.
    ended = EndedTasks(lookup, files, usage, state, dispatcher, clock)
    changes = TaskChanges(
        store,
        state,
        tasks,
        ended,
        submissions,
        files,
        dispatcher,
        TimeLimits(
            state,
            files,
            options.rules.defaults.limits,
            host,
            clock=clock,
            launched=attempts.launched,
        ),
        host=host,
        audit=audit,
        clock=clock,
        notify_addresses=options.rules.notify_addresses,
        private=private,
    )
    watches = Watches(index, feed, store, clock, private=private)
    results = ResultLists(experiments, tasks, files)
    sweep_service = Sweeps(
        sweeps,
        store,
        state,
        submissions,
        dependencies,
        ended,
        dispatcher,
        audit,
        snapshots=snapshots,
        clock=clock,
        private=private,
    )
    engine = Engine(
        submissions=submissions,
        tasks=tasks,
        changes=changes,
        watches=watches,
        batches=Batches(watches, feed, clock, private=private),
        logs=TaskLogs(tasks, files, LogThreads(files.reads), outside.folder_watch, feed, clock),
        outputs=TaskOutputs(tasks, files),
        results=results,
        comparison=TaskComparison(
            tasks, snapshots, PackageLists(store), results, files, tracked.runs
        ),
        reruns=Reruns(tasks, submissions, snapshots, PackageLists(store), store, audit),
        sweeps=sweep_service,
        ranking=SweepRanking(sweep_service, store, results, slow_reads),
        notifications=notifications.service,
        usage=UsageHistory(
            store,
            state,
            ledger,
            sampler,
            slow_reads,
            tasks,
            clock=clock,
            zone=options.zone,
            private=private,
        ),
        status=ServerStatus(
            store,
            state,
            index,
            counts,
            estimates,
            submissions,
            attempts,
            lifecycle,
            host=host,
            checkpoints=inputs.checkpoints,
            volumes=volumes,
            clock=clock,
            private=private,
        ),
        information=ServerInformation(
            state,
            options.rules,
            launcher=outside.launcher.name,
            dataset_names=outside.datasets.names,
            jupyter_images=sorted(options.jupyter.images),
            user_storage_bytes=options.user_storage_bytes,
            private=private,
            environments=environments.is_available,
        ),
        diagnosis=Diagnosis(options.examine, outside.inventory, notifications.service.findings),
    )
    await snapshots.load()
    await jupyter.load()
    return Assembly(
        clock=clock,
        ids=ids,
        store=store,
        state=state,
        index=index,
        feed=feed,
        dispatcher=dispatcher,
        audit=audit,
        usage=usage,
        volumes=volumes,
        estimates=estimates,
        experiments=experiments,
        snapshots=snapshots,
        environments=environments,
        secrets=secrets,
        ended=ended,
        gpus=gpus,
        services=services,
        jupyter=jupyter,
        attempts=attempts,
        lifecycle=lifecycle,
        engine=engine,
        access=TaskAccess(tasks, outside.launcher, attempts.launched, audit, options.access),
        sampler=sampler,
        activity=GpuActivity(
            state,
            host,
            outside.inventory,
            clock=clock,
            report=dispatcher.apply,
        ),
        sender=notifications.sender,
        watched=monitored_tasks(state, lookup, files, dispatcher, clock),
        tracked=tracked,
        history=History(store.history, private=private, has_room=store.has_room),
        what_ifs=WhatIfs(store, state, options.limits_with, clock=clock),
    )
