"""How many bytes does a search send over the network?

    python -m benchmarks.search.network_traffic            8 trials of 4 epochs on the rated snippets: two minutes
    python -m benchmarks.search.network_traffic --quick    2 trials of one epoch: shows that it works

The script runs a search on this machine. It counts the bytes that workers report to the driver and that the driver
writes into the journal, and measures the sizes of corpus and checkpoints. On a cluster, the reports go from node to
driver, and corpus and code go to each node once. With --storage, each epoch's checkpoint goes from the node to the
storage. Sizes do not depend on the load of the machine; times are not measured.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle

from benchmarks.results import new_parser, table_head
from core.config import TrialConfig
from core.data.corpus import Corpus
from core.data.load import load_corpus
from core.training.loop import train
from tuning.backend import tuner as searching
from tuning.backend.background_ray import BackgroundRay
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.worker import run_trial
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study
from tuning.journal.writer import open_study
from tuning.resources.machine import Machine, TrialResources, available_cpus
from tuning.scheduling.study_config import StudyConfig
from tuning.space.load import load_space

ROOT = Path(__file__).parents[2]


def main() -> None:
    quick = new_parser(__doc__, "Run 2 trials of one epoch.").parse_args().quick
    trials, epochs = (2, 1) if quick else (8, 4)
    corpus = load_corpus("snippets")
    plan = StudyConfig(
        space=load_space("quick"), n_trials=trials, epochs=epochs, parallelism=2, seed=42, stopping=None, startup=trials
    )
    with tempfile.TemporaryDirectory(prefix="sentune-cluster-") as folder:
        rows = {
            "code, once per node": code_bytes(),
            "corpus, once per node": corpus_bytes(corpus),
            **search_bytes(Path(folder) / "study", plan, corpus),
            **checkpoint_bytes(Path(folder) / "checkpoints", corpus),
        }
    print(*table_head(("what", "bytes")), sep="\n")
    for what, size in rows.items():
        print(f"| {what} | {size:,.0f} |")


def code_bytes() -> int:
    """Return the bytes of both packages as Ray packs them: all files except compiled ones, uncompressed."""
    files = [file for package in ("core", "tuning") for file in (ROOT / package).rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if "__pycache__" not in file.parts)


def corpus_bytes(corpus: Corpus) -> int:
    """Return the corpus's bytes in the object store: its arrays and their pickle."""
    buffers: list[Any] = []
    rest = cloudpickle.dumps(corpus, protocol=5, buffer_callback=buffers.append)
    return len(rest) + sum(buffer.raw().nbytes for buffer in buffers)


def search_bytes(folder: Path, plan: StudyConfig, corpus: Corpus) -> dict[str, float]:
    """Return the bytes of reports, as the driver receives them, and of the journal."""
    reports: list[int] = []

    class Counting(searching.StorageProblems):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **_: Any) -> None:
            reports.append(len(cloudpickle.dumps(dict(result))))

    searching.StorageProblems = Counting  # type: ignore[misc]
    machine, interrupt = Machine(cpus=available_cpus(), gpus=0), InterruptHandler(say=print)
    session = BackgroundRay(machine, interrupt.on_ray_lost).session
    backend = searching.RayBackend(session=session, resources=TrialResources(), workers=machine.cpus, train=run_trial)
    with open_study(folder, {}) as study_journal:
        schedule = searching.Schedule(study_journal, plan, lambda config: 1.0, [], interrupt)
        searching.run_schedule(schedule, corpus, backend, interrupt)
    _, records = read_study(folder)
    trained = sum(len(record.epochs) for record in records)
    journal = (folder / JOURNAL).stat().st_size
    return {
        f"report of an epoch or an end to the driver (mean of {len(reports)})": sum(reports) / len(reports),
        f"reports of a trial of {plan.epochs} epochs": sum(reports) / len(records),
        f"journal, a trial of {trained / len(records):g} epochs": journal / len(records),
    }


def checkpoint_bytes(folder: Path, corpus: Corpus) -> dict[str, float]:
    """Return the bytes of one epoch's checkpoint, for a small and a large model."""
    corners = {
        "hidden 64, 1 layer, frozen vectors": TrialConfig(epochs=1, hidden_dim=64, n_layers=1, freeze_embedding=True),
        "hidden 256, 2 layers, vectors trained": TrialConfig(
            epochs=1, hidden_dim=256, n_layers=2, freeze_embedding=False
        ),
    }
    found = {}
    for name, config in corners.items():
        train(config, corpus, checkpoint_dir=folder / name)
        size = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        found[f"checkpoint of an epoch: {name}"] = size
    return found


if __name__ == "__main__":
    main()
