"""The cases: each kind damages or draws one sort of input, and names the command or the call that takes it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fuzz import arguments, calls
from tests.fuzz.draws import bad_bytes, bad_json
from tests.fuzz.oracle import Ended, run_call, run_command
from tests.fuzz.place import DATA, FIRST, LINES, MIXTURE, MODEL, SPACE, STUDY, TABLE, VECTORS, Place
from tests.support.models import resum

Run = Callable[[Place, float], Ended]
"""Runs a case in a place, for a maximum number of seconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input."""

    verb: str
    text: str
    """The command line or the call, for a report."""
    run: Run


def case(seed: int, number: int) -> Case:
    """Return a case; the same seed and number give the same."""
    draw = random.Random(f"{seed} {number}")
    kinds = list(KINDS)
    kind = draw.choices(kinds, [KINDS[each] for each in kinds])[0]
    return kind(draw)


def _command(words: list[str], stdin: bytes = b"", files: Mapping[str, bytes] | None = None) -> Case:
    """Return a command line on a place in which some files have another content."""

    def run(place: Place, seconds: float) -> Ended:
        for name, content in (files or {}).items():
            path = place.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if path.parent.name == "model" and path.name != "SHA256SUMS" and b"#" not in content[:1]:
                resum(path.parent)
        return run_command(words, stdin, place, seconds)

    changed = "".join(f" [{name}: {content[:60]!r}]" for name, content in (files or {}).items())
    return Case(words[0] if words else "", f"{ascii(' '.join(words))[:400]}{changed}", run)


def command_line(draw: random.Random) -> Case:
    """Draw a command line on good files."""
    stdin = draw.choice((b"", b"a good film\n", b"\xff\x00\n" * 3, b"x" * 3000))
    return _command(arguments.command(draw, draw.choice(list(arguments.COMMANDS))), stdin)


GOOD: dict[str, bytes] = {}
"""Content of each file of the template; filled by `read_template`."""


def read_template(place: Place) -> None:
    """Read the files that the cases damage."""
    for path in place.template.rglob("*"):
        if path.is_file():
            GOOD[str(path.relative_to(place.template))] = path.read_bytes()


def _damaged(name: str, draw: random.Random) -> bytes:
    good = GOOD[name]
    is_json = name.endswith((".json", ".journal", ".jsonl"))
    return bad_json(good, draw) if is_json and draw.random() < 0.6 else bad_bytes(good, draw)


def data_file(draw: random.Random) -> Case:
    """Damage a table of sentences."""
    name = draw.choice((DATA, DATA, TABLE))
    new = draw.choice((name, name, "x.tsv", "x.csv.gz", "x.jsonl.gz", "x.parquet"))
    more = draw.choice(([], ["--drop-missing"], ["--validation", "folds:3"], ["--tokenizer", "unicode"]))
    words = [draw.choice(("data", "data", "run", "plan")), new, "--vectors", "none", "--embedding-dim", "4", *more]
    return _command(words, files={new: _damaged(name, draw)})


def vector_file(draw: random.Random) -> Case:
    """Damage a file of word vectors."""
    new = draw.choice((VECTORS, VECTORS, "x.txt", "x.zip", "x.gz"))
    return _command([draw.choice(("data", "run")), DATA, "--vectors", new], files={new: _damaged(VECTORS, draw)})


def space_file(draw: random.Random) -> Case:
    """Damage a search space or a list of first trials."""
    if draw.random() < 0.6:
        return _command(["plan", DATA, "--show-space", "--space", SPACE], files={SPACE: _damaged(SPACE, draw)})
    return _command(["run", DATA, "--vectors", "none", "--first-trials", FIRST], files={FIRST: _damaged(FIRST, draw)})


AS_GOOD = (
    *("--name", "good", "--vectors", "none", "--embedding-dim", "8", "--seed", "7", "--grace", "2", "--reduction", "3"),
    *("--first-trials", "random", "--set", "freeze_embedding=choice(true, false)"),
    *("--set", "embedding_lr_scale=log(0.1, 1)"),
)
"""The options with which `run` continues the study: others are refused before a trial is read."""
JOURNAL_COMMANDS = (
    ["best", "good"], ["best", "good", "--format", "json"], ["best", "good", "--trial", "0"],
    ["best", "good", "--expected"], ["list"], ["report", "good"], ["confirm", "good"],
    ["retrain", "good", "--out", "new"], ["ensemble", "good"], ["export", "good", "--to", "mlflow"],
    ["data", "--suspects", "good"], ["distill", MIXTURE, "good"],
    ["run", DATA, *AS_GOOD], ["run", DATA, "--warm-start", "good", "--vectors", "none"], ["plan", DATA, *AS_GOOD],
)  # fmt: skip


def journal(draw: random.Random) -> Case:
    """Damage the journal of a study, or its stored probabilities."""
    others = [name for name in GOOD if name.startswith(f"{STUDY}/probabilities/")]
    name = draw.choice((f"{STUDY}/study.journal",) * 6 + tuple(others))
    return _command(list(draw.choice(JOURNAL_COMMANDS)), files={name: _damaged(name, draw)})


def model_folder(draw: random.Random) -> Case:
    """Damage a file of a saved model; the digests fit, unless they are what is damaged."""
    folder = draw.choice((MODEL, MIXTURE))
    name = draw.choice([name for name in GOOD if name.startswith(f"{folder}/")])
    commands = (["predict", folder, "a good film"], ["export", folder, "--out", "new"],
                ["serve", folder, "--port", "0"], ["distill", folder, "good", "--out", "new"],
                ["predict", folder, "good", "--at-accuracy", "0.8"])  # fmt: skip
    return _command(list(draw.choice(commands)), files={name: _damaged(name, draw)})


def predicted_file(draw: random.Random) -> Case:
    """Damage what `predict` reads."""
    name = draw.choice((LINES, DATA, TABLE))
    content = _damaged(name, draw)
    more = draw.choice(([], ["--format", "json"], ["--probabilities"], ["--out", "new.csv"], ["--encoding", "utf-16"],
                        ["--text-column", "text"],
                        ["--text-column", "label", "--format", "json", "--out", "new.jsonl"]))  # fmt: skip
    if draw.random() < 0.3:
        return _command(["predict", MODEL, "--file", "-", *more], stdin=content)
    return _command(["predict", MODEL, "--file", name, *more], files={name: content})


def api_call(draw: random.Random) -> Case:
    """Draw a call of the Python API."""
    text, make, written = calls.call(draw)

    def run(place: Place, seconds: float) -> Ended:
        return run_call(lambda: make(place.folder), place, seconds, written)

    return Case("Python API", text, run)


KINDS: dict[Callable[[random.Random], Case], int] = {
    command_line: 40,
    data_file: 12,
    vector_file: 6,
    space_file: 8,
    journal: 12,
    model_folder: 9,
    predicted_file: 5,
    api_call: 12,
}
"""Kinds of cases with their weights."""
