"""Does `sentune serve` answer every request under load and attack, and how fast?

    python -m benchmarks.serving MODEL               some four minutes; MODEL is a folder that `sentune retrain` saved
    python -m benchmarks.serving MODEL --quick       short forms: shows that it works, not what holds
    python -m benchmarks.serving MODEL --only load   one of load, large, half-open, memory

`load`: 64 clients send sentences of 20 words for 30 s, each on its own connection, one at a time. An answer counts if
its label is the one that the model gives in this process. The reference in the same run is onnxruntime on the exported
model: one sentence at a time, one thread, with the tokenizer, without HTTP.
`large`: four clients send requests of 1 MB all the time while another client sends "hi" from the same address.
`half-open`: 600 connections send half of their headers, and 200 send half of a body. A closed one is opened again.
Another client sends "hi" on new connections.
`memory`: 64 clients send 100,000 requests; the server's memory after 20,000 of them is compared with that at the end.

Clients and server share the machine. The server has one worker with one thread and no limit on words per second.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.inputs.corpora import snippets
from benchmarks.results import new_parser, verdict
from benchmarks.serving_clients import Server, half_open, running_server, send_large, send_sentences
from core import load_model
from core.inference.onnx_export import export_onnx

CLIENTS, WORDS = 64, 20
MAX_P99_MS, MAX_LARGE_SECONDS, MAX_HALF_OPEN_SECONDS, MAX_GROWTH = 200.0, 2.0, 5.0, 1.05


class Case(NamedTuple):
    """Input of each case."""

    model: Path
    texts: Sequence[str]
    labels: Sequence[str | None]
    quick: bool


def main() -> None:
    parser = new_parser(__doc__, "Run short forms.")
    parser.add_argument("model", type=Path, help="Folder of a saved model.")
    parser.add_argument("--only", choices=CASES, help="Run one case.")
    arguments = parser.parse_args()
    texts = list(itertools.islice(sentences(snippets().texts), 2000))
    labels = [each.label for each in load_model(arguments.model).predict(texts)]
    case = Case(arguments.model, texts, labels, arguments.quick)
    held = []
    for name, measure in CASES.items():
        if arguments.only in (None, name):
            with running_server(arguments.model) as server:
                text, holds = measure(case, server)
            assert server.process.returncode == 0, f"the server ended with exit code {server.process.returncode}"
            held.append(holds)
            print(f"{name}: {text}: {verdict(holds, conclusive=not arguments.quick)}", flush=True)
    sys.exit(0 if arguments.quick or all(held) else 1)


def sentences(texts: Sequence[str]) -> Iterator[str]:
    """Yield sentences of WORDS words."""
    words = itertools.chain.from_iterable(text.split() for text in itertools.cycle(texts))
    while True:
        yield " ".join(itertools.islice(words, WORDS))


def measure_load(case: Case, server: Server) -> tuple[str, bool]:
    """Send sentences for 30 s."""
    answers = send_sentences(server.port, case.texts, case.labels, CLIENTS, seconds=3 if case.quick else 30)
    plain = onnxruntime_rate(case, seconds=1 if case.quick else 5)
    text = (
        f"{answers.count:,} answers to {CLIENTS} clients, {answers.lost} lost, {answers.per_second:.0f} per second, "
        f"median {answers.percentile(50):.0f} ms, p99 {answers.percentile(99):.0f} ms (at most {MAX_P99_MS:.0f} "
        f"claimed); onnxruntime without HTTP, one at a time: {plain:.0f} per second"
    )
    return text, answers.lost == 0 and answers.percentile(99) <= MAX_P99_MS


def onnxruntime_rate(case: Case, seconds: float) -> float:
    """Return the sentences per second of onnxruntime with one thread, one at a time."""
    import numpy as np
    import onnxruntime

    model = load_model(case.model)
    with tempfile.TemporaryDirectory(prefix="sentune-serving-") as folder:
        export_onnx(model, case.model, Path(folder) / "onnx", print)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(Path(folder) / "onnx" / "model.onnx", options)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        (ids,) = model.encode([case.texts[count % len(case.texts)]])
        session.run(["probabilities"], {"tokens": np.array([ids]), "lengths": np.array([len(ids)])})
        count += 1
    return count / (time.perf_counter() - began)


def measure_large(case: Case, server: Server) -> tuple[str, bool]:
    """Send "hi" next to requests of 1 MB."""
    characters = itertools.cycle(" ".join([*case.texts, ""]))
    texts = ["".join(itertools.islice(characters, 10_000)) for _ in range(100)]
    with send_large(server.port, texts, clients=4) as large:
        hi = send_sentences(server.port, ["hi"], [None], 1, seconds=3 if case.quick else 30)
    text = (
        f"{hi.count} of {hi.count + hi.lost} times hi was answered next to requests of 1 MB ({large.count} answered, "
        f"{large.lost} refused), the slowest after {hi.slowest:.2f} s (at most {MAX_LARGE_SECONDS:.0f} claimed)"
    )
    return text, hi.lost == 0 and hi.slowest <= MAX_LARGE_SECONDS


def measure_half_open(case: Case, server: Server) -> tuple[str, bool]:
    """Send "hi" on new connections next to connections that send nothing more."""
    with half_open(server.port, headers=600, bodies=200):
        hi = send_sentences(server.port, ["hi"], [None], 1, seconds=3 if case.quick else 30, reconnect=True)
    text = (
        f"{hi.count} of {hi.count + hi.lost} times hi was answered next to 600 half-open connections and 200 slow "
        f"bodies, the slowest after {hi.slowest:.2f} s (at most {MAX_HALF_OPEN_SECONDS:.0f} claimed)"
    )
    return text, hi.lost == 0 and hi.slowest <= MAX_HALF_OPEN_SECONDS


def measure_memory(case: Case, server: Server) -> tuple[str, bool]:
    """Compare the server's memory after a fifth of the requests with that at the end."""
    n_requests = 2_000 if case.quick else 100_000
    first = send_sentences(server.port, case.texts, case.labels, CLIENTS, requests=n_requests // 5)
    before = server.memory_bytes()
    rest = send_sentences(server.port, case.texts, case.labels, CLIENTS, requests=n_requests - n_requests // 5)
    after, lost = server.memory_bytes(), first.lost + rest.lost
    text = (
        f"{before / 1e6:.0f} MB after {first.count:,} requests, {after / 1e6:.0f} MB after {n_requests:,} "
        f"({lost} lost; at most {MAX_GROWTH} times as much claimed)"
    )
    return text, lost == 0 and after <= MAX_GROWTH * before


CASES: dict[str, Callable[[Case, Server], tuple[str, bool]]] = {
    "load": measure_load,
    "large": measure_large,
    "half-open": measure_half_open,
    "memory": measure_memory,
}
if __name__ == "__main__":
    main()
