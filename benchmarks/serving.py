"""Does `sentune serve` answer every request under load, and how fast?

    python -m benchmarks.serving MODEL                a model that `sentune retrain` saved
    python -m benchmarks.serving MODEL --clients 4 --requests 100

By default 16 clients send 1,000 requests. Each client holds one connection and sends its next request when the previous
one is answered, with one real sentence (of the rated movie snippets) per request. An answer counts if its status is 200
and its label is the one that the model gives in this process. Clients and server share the machine.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from core import load_model
from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.io import cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="Folder of a saved model.")
    parser.add_argument("--clients", type=int, default=16, help="Number of parallel clients (default: 16).")
    parser.add_argument("--requests", type=int, default=1000, help="Total number of requests (default: 1,000).")
    arguments = parser.parse_args()
    texts = resolve_dataset("snippets", ReadOptions(), cache.default_dir()).read().texts[: arguments.requests]
    labels = [each.label for each in load_model(arguments.model).predict(texts)]
    command = [sys.executable, "-m", "tuning", "serve", str(arguments.model), "--port", "0", "--rate", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(re.findall(r":(\d+)/", server.stdout.readline())[0])
        resources = [list(range(client, len(texts), arguments.clients)) for client in range(arguments.clients)]
        began = time.perf_counter()
        with ThreadPoolExecutor(arguments.clients) as pool:
            parts = pool.map(lambda places: ask(port, [(texts[i], labels[i]) for i in places]), resources)
            seconds = [each for part in parts for each in part]
        took = time.perf_counter() - began
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    lost = len(texts) - len(seconds)
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{len(texts):,} requests by {arguments.clients} clients: {lost} lost, {len(texts) / took:.0f} per second")
    print(f"median {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms, longest {1000 * max(seconds):.1f} ms")
    print(f"the server ended with exit code {server.returncode}")
    sys.exit(1 if lost or server.returncode else 0)


def ask(port: int, asked: list[tuple[str, str]]) -> list[float]:
    """Send one client's requests; return the seconds of each correct answer."""
    connection, seconds = HTTPConnection("127.0.0.1", port, timeout=60), []
    for text, label in asked:
        began = time.perf_counter()
        body = json.dumps({"texts": [text]})
        try:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, HTTPException, ValueError):
            continue
        if reply.status == 200 and answer["predictions"][0]["label"] == label:
            seconds.append(time.perf_counter() - began)
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
