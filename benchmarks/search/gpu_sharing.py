"""How many trials per hour does a GPU train when several trials share it?

    python -m benchmarks.search.gpu_sharing            16 trials at each of 1, 1/2, 1/4 and 1/8 of a GPU: ten minutes
    python -m benchmarks.search.gpu_sharing --quick    4 short trials at 1 and 1/2: shows that it works, not what holds

For each fraction, `sentune run` runs the same trials in a folder of its own. The results must be bit-identical.
nvidia-smi reports the memory in use on the first GPU twice per second. To test the memory cap, a process with that
fraction allocates until torch refuses. Meanwhile, another process with the same fraction computes and must not be
affected. Without a GPU the script ends at once.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.baselines.sentune_studies import run_sentune, trial_span
from benchmarks.results import new_parser, table_head, verdict
from core.errors import UserError
from tuning.journal.records import read_study
from tuning.resources.gpu import GIB
from tuning.resources.machine import Machine

FILL = """
import json, sys, torch
from tuning.resources.gpu import claim_gpu
share = float(sys.argv[1])
device, gpu = claim_gpu(share, [0], None, torch.cuda)
held = []
try:
    while True:
        held.append(torch.empty(64 * 2**20, dtype=torch.uint8, device=device))
except torch.OutOfMemoryError as error:
    print(json.dumps({"held": torch.cuda.memory_reserved(device), "total": gpu.bytes, "said": str(error)[:200]}))
"""
NEIGHBOUR = """
import sys, time, torch
from tuning.resources.gpu import claim_gpu
claim_gpu(float(sys.argv[1]), [0], None, torch.cuda)
a = torch.randn(1024, 1024, device="cuda")
print("ready", flush=True)
until = time.monotonic() + 15
while time.monotonic() < until:
    b = (a @ a).sum().item()
    c = torch.empty(32 * 2**20, dtype=torch.uint8, device="cuda")
    del c
print("unaffected", flush=True)
"""


def main() -> None:
    arguments = new_parser(__doc__, "Run 4 short trials at 1 and 1/2 of a GPU.").parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"  # nvidia-smi below reports the first GPU alone
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts
    machine = Machine.here()
    if not machine.gpus or not shutil.which("nvidia-smi"):
        sys.exit("benchmarks.search.gpu_sharing: torch or nvidia-smi finds no GPU here; run it on a machine with one")
    fractions = [1.0, 0.5] if arguments.quick else [1.0, 0.5, 0.25, 0.125]
    trials, epochs = (4, 2) if arguments.quick else (16, 6)
    names = ", ".join(f"{gpu.name} {gpu.bytes / GIB:.0f} GiB" for gpu in machine.gpu_list)
    print(f"{names}; {machine.cpus} cores; {trials} trials of {epochs} epochs on the snippets\n")
    memory = ("peak memory in use, GiB", "cap, GiB", "allocated at refusal, GiB")
    print(*table_head(("fraction", "trials per hour", *memory, "neighbour")), sep="\n")
    contents: dict[float, Any] = {}
    for share in fractions:
        rate, peak, contents[share] = run_trials(share, trials, epochs)
        held, total, neighbour = fill_memory(share)
        print(
            f"| {share:g} | {rate:.0f} | {peak / GIB:.2f} | {share * total / GIB:.2f} | {held / GIB:.2f} "
            f"| {neighbour} |",
            flush=True,
        )
        assert held <= share * total, f"the cap of {share:g} does not hold"
    equal = all(content == contents[fractions[0]] for content in contents.values())
    print(f"\nbit-identical at every fraction: {verdict(equal, conclusive=not arguments.quick)}")


def run_trials(share: float, trials: int, epochs: int) -> tuple[float, float, Any]:
    """Return the trials per hour from the first start to the last end, the peak bytes in use, and the results."""
    with tempfile.TemporaryDirectory(prefix="sentune-gpu-") as folder:
        with Watch() as watch:
            run_sentune(
                "run", "snippets", "--trials", str(trials), "--epochs", str(epochs), "--stopping", "none",
                "--parallelism", str(trials), "--gpus-per-trial", str(share), "--results", folder, "--name", "s",
            )  # fmt: skip
        _, records = read_study(Path(folder) / "s")
        content = [(r.number, r.state, [(e.train_loss, e.val_loss, e.val_accuracy) for e in r.epochs]) for r in records]
        return 3600 * len(records) / trial_span(records), watch.peak, content


def fill_memory(share: float) -> tuple[int, int, str]:
    """Return a process's bytes before torch refused, the GPU's bytes, and the state of its neighbour."""
    neighbour = None
    if share < 1:
        neighbour = subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(share)], stdout=subprocess.PIPE, text=True)
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline().strip() == "ready"
    filled = subprocess.run([sys.executable, "-c", FILL, str(share)], check=True, capture_output=True, text=True)
    found = json.loads(filled.stdout)
    state = "none"
    if neighbour is not None:
        said, _ = neighbour.communicate(timeout=120)
        state = "unaffected" if neighbour.returncode == 0 and "unaffected" in said else "DIED"
    return int(found["held"]), int(found["total"]), state


class Watch:
    """The peak memory in use on the first GPU while a block runs."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
        while not self.over.is_set():
            said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
            self.peak = max(self.peak, float(said.split()[0]) * 2**20)
            time.sleep(0.5)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"benchmarks.search.gpu_sharing: {error}")
