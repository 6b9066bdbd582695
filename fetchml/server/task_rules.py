"""The limits of requests, by the settings."""

from fetchml.config.settings import GpuSettings, Settings, TaskSettings
from fetchml.core.addresses import AddressRules
from fetchml.core.requests.submission import Defaults, SubmissionRules, TaskLimits
from fetchml.core.scheduling.resources import IdleRule, PackingRule
from fetchml.server.cluster_wiring import slurm_allow, slurm_users
from fetchml.server.notification_wiring import notify_addresses
from fetchml.server.volumes import volumes_of


def submission_rules(settings: Settings) -> SubmissionRules:
    """Raises CannotStart."""
    tasks = settings.tasks
    return SubmissionRules(
        Defaults(tasks.image, tasks.command, _task_limits(tasks), tasks.max_retries),
        dataset_schemes=settings.datasets.allow,
        dataset_addresses=dataset_addresses(settings),
        allow_images=tasks.allow_images,
        slurm_allow=slurm_allow(settings),
        slurm_users=slurm_users(settings),
        notify_addresses=notify_addresses(settings),
        volumes=volumes_of(settings),
        allow_may_idle=settings.gpu.may_idle,
    )


def idle_rule(gpu: GpuSettings) -> IdleRule | None:
    if not gpu.idle_seconds:
        return None
    stops = gpu.idle_action == "stop"
    return IdleRule(
        gpu.idle_percent,
        idle_ms=gpu.idle_seconds * 1000,
        start_ms=gpu.idle_start_seconds * 1000,
        warning_ms=gpu.idle_warning_seconds * 1000 if stops else None,
    )


def packing_rule(gpu: GpuSettings) -> PackingRule | None:
    return PackingRule(gpu.packing_margin_percent) if gpu.packing else None


def dataset_addresses(settings: Settings) -> AddressRules:
    hosts = frozenset(host.lower() for host in settings.datasets.allow_hosts)
    return AddressRules(settings.datasets.allow_private, hosts)


def _task_limits(tasks: TaskSettings) -> TaskLimits:
    return TaskLimits(
        cpu=tasks.cpu,
        memory_gb=tasks.memory_gb,
        timeout_seconds=tasks.timeout_seconds,
        max_cpu=tasks.max_cpu,
        max_memory_gb=tasks.max_memory_gb,
        max_timeout_seconds=tasks.max_timeout_seconds,
    )
