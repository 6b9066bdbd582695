"""Metrics of GPUs and their reservations, of prestaging, and of start time estimates."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fetchml.attempts.manager import PrestageCounts
from fetchml.core.scheduling.estimate import Calibration
from fetchml.engine.gpus.bookings import BookingCounts
from fetchml.engine.gpus.report import GpuCondition, GpuReport
from fetchml.views import GpuUse

MIB = 1 << 20


def gpu_metrics(report: GpuReport, use: Iterable[GpuUse]) -> Iterator[Metric]:
    """Yield the metrics of GPUs and of the GPU time of running tasks."""
    labels = ["gpu", "name"]
    state = GaugeMetricFamily(
        "fetchml_gpu_state", "1 for the current state of the GPU.", labels=[*labels, "state"]
    )
    memory = GaugeMetricFamily("fetchml_gpu_memory_bytes", "Memory of the GPU.", labels=labels)
    used = GaugeMetricFamily("fetchml_gpu_memory_used_bytes", "Memory in use.", labels=labels)
    busy = GaugeMetricFamily(
        "fetchml_gpu_utilisation_ratio", "Fraction of time the GPU was computing.", labels=labels
    )
    warm = GaugeMetricFamily("fetchml_gpu_temperature_celsius", "Temperature.", labels=labels)
    power = GaugeMetricFamily("fetchml_gpu_power_watts", "Power of the GPU.", labels=labels)
    for status in report.gpus if not report.nodes else ():  # Of a cluster: node_metrics.
        gpu, reading = status.gpu, status.reading
        named = [gpu.uuid, gpu.name]
        for condition in GpuCondition:
            state.add_metric([*named, condition], float(status.condition is condition))
        if gpu.memory_mb:
            memory.add_metric(named, gpu.memory_mb * MIB)
        if reading is None:
            continue
        if reading.used_mb is not None:
            used.add_metric(named, reading.used_mb * MIB)
        if reading.utilisation_percent is not None:
            busy.add_metric(named, reading.utilisation_percent / 100)
        if reading.temperature_c is not None:
            warm.add_metric(named, reading.temperature_c)
        if reading.power_w is not None:
            power.add_metric(named, reading.power_w)
    yield from (state, memory, used, busy, warm, power)
    if report.packing is not None:
        yield CounterMetricFamily(
            "fetchml_gpu_packed_starts",
            "Tasks that were started beside others on a GPU.",
            report.packing.starts,
        )
        yield CounterMetricFamily(
            "fetchml_gpu_packed_out_of_memory",
            "Attempts that ran out of GPU memory beside others.",
            report.packing.exhausted,
        )
    seconds = GaugeMetricFamily(
        "fetchml_task_gpu_seconds",
        "GPU time of the task in this attempt.",
        labels=["task_id", "user"],
    )
    idle = GaugeMetricFamily(
        "fetchml_task_gpu_idle_seconds",
        "Time since which the task leaves its GPUs idle; 0 if it uses them.",
        labels=["task_id", "user"],
    )
    for each in use:
        seconds.add_metric([each.task_id, each.user], each.gpu_seconds)
        idle.add_metric([each.task_id, each.user], each.idle_seconds)
    yield from (seconds, idle)


def booking_metrics(counts: BookingCounts) -> Iterator[Metric]:
    """Yield the numbers of reservations of all users together."""
    yield GaugeMetricFamily(
        "fetchml_bookings", "Reservations that have not ended.", counts.bookings
    )
    yield GaugeMetricFamily(
        "fetchml_bookings_active", "Reservations that have begun.", counts.active
    )


def start_metrics(ahead: PrestageCounts, calibration: Calibration) -> Iterator[Metric]:
    """Yield the metrics of prestaging and of start time estimates."""
    attempts = CounterMetricFamily(
        "fetchml_attempts", "Attempts that were prepared.", labels=["how"]
    )
    attempts.add_metric(["ahead"], ahead.prestaged)
    attempts.add_metric(["ordinary"], ahead.ordinary)
    yield attempts
    came = CounterMetricFamily(
        "fetchml_prepared_ahead", "Outcomes of prestaged attempts.", labels=["came_to"]
    )
    came.add_metric(["started"], ahead.opened)
    came.add_metric(["thrown_away"], ahead.discarded)
    yield came
    yield CounterMetricFamily(
        "fetchml_not_ahead_again",
        "Ordinary attempts of tasks that were discarded too often to be prestaged again.",
        ahead.not_again,
    )
    held = CounterMetricFamily(
        "fetchml_estimates_held", "Tasks that started by the estimated time.", labels=["by"]
    )
    held.add_metric(["p50"], calibration.by_p50)
    held.add_metric(["p90"], calibration.by_p90)
    yield held
    yield CounterMetricFamily(
        "fetchml_estimates_checked", "Estimated tasks that have started.", calibration.tasks
    )
