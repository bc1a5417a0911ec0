"""Metrics of a server in the text format of Prometheus, at /metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of the histogram of response times: those of Prometheus' clients."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests by status, and their response times."""

    def __init__(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def record(self, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            status: HTTP status; 499 if the client has disconnected.
            seconds: Time from the end of the headers to the end of the answer.
        """
        self._statuses[status] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def render(self, others: Mapping[str, tuple[str, float]]) -> str:
        """Return the text.

        Args:
            others: Further metrics: name without `sentune_` to help text and value; a counter's name ends in `_total`.
        """
        lines = [
            *_head("requests_total", "counter", "Answered requests by status; 499 if the client has disconnected."),
            *(f'sentune_requests_total{{status="{key}"}} {count}' for key, count in sorted(self._statuses.items())),
            *_head("request_seconds", "histogram", "Seconds from the end of a request's headers to its answer."),
            *self._histogram(),
        ]
        for name, (text, value) in others.items():
            lines += _head(name, "counter" if name.endswith("_total") else "gauge", text)
            lines.append(f"sentune_{name} {value:.12g}")
        return "".join(f"{line}\n" for line in lines)

    def _histogram(self) -> Iterable[str]:
        total = 0
        for bound, count in zip((*(f"{each:g}" for each in BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            yield f'sentune_request_seconds_bucket{{le="{bound}"}} {total}'
        yield f"sentune_request_seconds_sum {self._seconds:.6f}"
        yield f"sentune_request_seconds_count {total}"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP sentune_{name} {text}", f"# TYPE sentune_{name} {kind}"]
