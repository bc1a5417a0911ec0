"""Metrics of a server for Prometheus, at /metrics."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from tuning.serving.request_queue import RequestQueue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests by status, and their response times. Reads the queue whenever Prometheus asks."""

    def __init__(self, queue: "RequestQueue") -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]  # the times at which counters were made
        self._queue, self._registry = queue, CollectorRegistry()
        self._registry.register(self)
        statuses = "Answered requests by status; 499 if the client has disconnected."
        self._requests = Counter("sentune_requests", statuses, ["status"], registry=self._registry)
        times = "Seconds from the end of a request's headers to its answer."
        self._seconds = Histogram("sentune_request_seconds", times, registry=self._registry)

    def record(self, status: int, seconds: float) -> None:
        """Count a request; the help texts above define its HTTP status and its seconds."""
        self._requests.labels(status).inc()
        self._seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the text."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def collect(self) -> "Iterator[Metric]":
        """Yield the metrics of the queue."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        queue = self._queue
        yield CounterMetricFamily("sentune_words", "Labelled words, estimated.", queue.labelled_words)
        yield CounterMetricFamily(
            "sentune_label_seconds", "Seconds in which the model labelled words.", queue.busy_seconds
        )
        yield GaugeMetricFamily("sentune_queue_requests", "Requests that wait for the model.", queue.requests)
        waiting = "Words of waiting requests that are not labelled yet."
        yield GaugeMetricFamily("sentune_queue_words", waiting, queue.words)
