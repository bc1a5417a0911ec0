"""The folder that each case works in: good data, word vectors, a space, a study and two models."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.models import mixture, saved
from tests.support.studies import WORDS, add_plain_baseline, make_study, setting, write_sentences
from tuning.journal.folder import JOURNAL
from tuning.journal.records import study_attributes
from tuning.journal.writer import open_study
from tuning.scheduling.schedule import GOAL

DATA, TABLE, LINES = "good.csv", "good.jsonl", "lines.txt"
VECTORS, SPACE, FIRST = "good.vec", "space.yaml", "first.yaml"
STUDY, STOPPED = "results/good", "results/stopped"
MODEL, MIXTURE = "results/good/model", "mixture/model"
CACHE = "cache"
PIPE = "fifo"
"""A named pipe without a writer."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is a copy of a template as long as nothing has changed it."""

    template: Path
    folder: Path

    def reset(self) -> None:
        """Make the folder equal to the template again; the cache may keep what it has."""
        if self.folder.is_dir() and stamps(self.folder) == stamps(self.template):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder, symlinks=True)
        os.mkfifo(self.folder / PIPE)


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return size, time and mode of each file below a folder, without the cache and the studies' locks.

    The size of a journal ends with its last line break: each command that writes cuts off what follows.
    """
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) != folder / CACHE]
        for name in files:
            if name not in ("study.lock", PIPE):
                path = Path(root, name)
                state = path.lstat()
                size = path.read_bytes().rfind(b"\n") + 1 if name == JOURNAL else state.st_size
                found[str(path.relative_to(folder))] = (size, state.st_mtime_ns, state.st_mode)
    return found


def make_place(folder: Path) -> Place:
    """Make a place below a folder. The studies are made where they stay, because they hold the path of their data."""
    here = folder / "place"
    (here / CACHE).mkdir(parents=True)
    write_sentences(here / DATA, 120)
    cells = [row.split(",") for row in (here / DATA).read_text().splitlines()[1:]]
    (here / TABLE).write_text("".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in cells))
    (here / LINES).write_text("".join(f"{text}\n" for text, _ in cells[:20]))
    (here / VECTORS).write_text("4 3\nthe 0.1 0.2 0.3\ncrash 1 2 3\ngreat -1 0.5 2e-3\npage 0 0 1\n")
    (here / SPACE).write_text("settings:\n  hidden_dim: int(4, 16)\n  learning_rate: log(0.001, 0.1)\n")
    (here / FIRST).write_text("- {hidden_dim: 8}\n- {pooling: mean}\n")
    for study, stopped in ((STUDY, None), (STOPPED, 1)):
        make_study(here / study, here / DATA, here / CACHE, setting(), setting(n_layers=2), stopped=stopped)
    add_plain_baseline(here / STUDY, here / CACHE)
    with open_study(here / STUDY, study_attributes(here / STUDY)["spec"]) as study_journal:  # `run` continues it
        study_journal.set_study_attr("id", "0")
        study_journal.set_study_attr(GOAL, {"trials": 16, "target": None, "patience_trials": None})
    saved(here / STUDY, *mixture(), classes=tuple(WORDS))  # those of the study, which `distill` compares
    saved(here / "mixture", classes=tuple(WORDS))
    template = folder / "template"
    shutil.copytree(here, template, symlinks=True)
    os.mkfifo(here / PIPE)
    return Place(template, here)
