"""Metrics of notifications."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from fetchml.notifications.notification_service import NotificationCounts


def notification_metrics(counts: NotificationCounts) -> Iterator[Metric]:
    """Yield the numbers of messages of all users together."""
    rows = GaugeMetricFamily(
        "fetchml_notifications", "Messages that are not delivered.", labels=["state"]
    )
    rows.add_metric(["pending"], counts.pending)
    rows.add_metric(["dead"], counts.dead)
    yield rows
    yield CounterMetricFamily(
        "fetchml_notifications_delivered", "Messages delivered.", counts.delivered
    )
    yield CounterMetricFamily(
        "fetchml_notifications_failed_attempts", "Attempts that failed.", counts.failed_attempts
    )
    yield CounterMetricFamily(
        "fetchml_notifications_dropped", "Messages dropped for lack of room.", counts.dropped
    )
