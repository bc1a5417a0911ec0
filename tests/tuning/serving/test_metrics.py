"""tuning.serving.metrics: the text that Prometheus reads."""

from tuning.serving.metrics import Metrics


def test_requests_are_counted_by_status_and_time() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.005), (200, 0.03), (503, 0.001), (200, 99.0)):
        metrics.record(status, seconds)
    lines = metrics.render({"queue_words": ("Words that wait.", 12), "words_total": ("All words.", 1e9)}).splitlines()
    assert lines[:4] == [
        "# HELP sentune_requests_total Answered requests by status; 499 if the client has disconnected.",
        "# TYPE sentune_requests_total counter",
        'sentune_requests_total{status="200"} 3',
        'sentune_requests_total{status="503"} 1',
    ]
    assert 'sentune_request_seconds_bucket{le="0.005"} 2' in lines
    assert 'sentune_request_seconds_bucket{le="0.05"} 3' in lines
    assert 'sentune_request_seconds_bucket{le="10"} 3' in lines
    assert 'sentune_request_seconds_bucket{le="+Inf"} 4' in lines
    assert lines[-8:] == [
        "sentune_request_seconds_sum 99.036000",
        "sentune_request_seconds_count 4",
        "# HELP sentune_queue_words Words that wait.",
        "# TYPE sentune_queue_words gauge",
        "sentune_queue_words 12",
        "# HELP sentune_words_total All words.",
        "# TYPE sentune_words_total counter",
        "sentune_words_total 1000000000",
    ]
