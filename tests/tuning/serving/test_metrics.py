"""tuning.serving.metrics: the text that Prometheus reads."""

from types import SimpleNamespace
from typing import Any

from tuning.serving.metrics import Metrics


def test_requests_are_counted_by_status_and_time() -> None:
    queue: Any = SimpleNamespace(labelled_words=10**9, busy_seconds=0.5, requests=3, words=12)
    metrics = Metrics(queue)
    for status, seconds in ((200, 0.005), (200, 0.03), (503, 0.001), (200, 99.0)):
        metrics.record(status, seconds)
    queue.words = 13
    lines: Any = metrics.render().decode().splitlines()
    assert {
        "# TYPE sentune_requests_total counter",
        'sentune_requests_total{status="200"} 3.0',
        'sentune_requests_total{status="503"} 1.0',
        'sentune_request_seconds_bucket{le="0.005"} 2.0',
        'sentune_request_seconds_bucket{le="0.05"} 3.0',
        'sentune_request_seconds_bucket{le="+Inf"} 4.0',
        "sentune_request_seconds_count 4.0",
        "sentune_words_total 1e+09",
        "sentune_label_seconds_total 0.5",
        "# TYPE sentune_queue_requests gauge",
        "sentune_queue_requests 3.0",
        "sentune_queue_words 13.0",
    } <= set(lines)
    assert not any("_created" in line for line in lines)
