"""Whatever is typed or lies in a file: a mistake is one line and exit code 2, over every verb."""

import random
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.assessed_studies import FULL_SPEC, attributes, trial, write_study
from tests.support.cli import sentune
from tests.support.journals import two_trials
from tests.support.studies import write_sentences

Capture = pytest.CaptureFixture[str]
FILES = {
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "one-row.csv": b"text,label\na film,good\n",
    "one-class.csv": b"text,label\n" + b"a film of some kind,good\n" * 40,
    "twice.csv": b"text,text,label\na,b,c\n",
    "ragged.csv": b"text,label\na,b\nc\nd,e,f,g\n",
    "quote.csv": b'text,label\n"never closed,good\n' + b"a film,bad\n" * 9,
    "nul.csv": b"text,label\n\x00\x00,\x00\n",
    "binary.csv": bytes(range(256)) * 20,
    "no-label.csv": b"text,kind\na film,good\n",
    "labels-empty.csv": b"text,label\n" + b"a film,\n" * 9,
    "texts-empty.csv": b"text,label\n" + b",good\n,bad\n" * 9,
    "split.csv": b"text,label,part\n" + b"a film,good,left\nthe film,bad,train\n" * 9,
    "split-empty.csv": b"text,label,part\n" + b"a film,good,\n" * 9,
    "no-test.csv": b"text,label,part\n" + b"a film,good,val\nthe film,bad,val\n" * 9,
    "empty.tsv": b"",
    "commas.tsv": b"text,label\na film,good\n",
    "broken.jsonl": b'{"text": "a film", "label": "good"}\n{"text": \n',
    "list.jsonl": b"[1, 2]\n",
    "numbers.jsonl": b"1\n2\n3\n",
    "nested.jsonl": b'{"text": {"a": 1}, "label": [1]}\n' * 9,
    "deep.jsonl": b"[" * 5000 + b"]" * 5000 + b"\n",
    "null.jsonl": b'{"text": null, "label": null}\n' * 9,
    "empty.jsonl": b"",
    "garbage.parquet": b"PAR1 and then nothing of use PAR1",
    "empty.parquet": b"",
    "garbage.csv.gz": b"\x1f\x8b\x08 no gzip at all",
    "plain.jsonl.gz": b'{"text": "a", "label": "b"}\n',
    "words.doc": b"a film",
    "noextension": b"text,label\na,b\n",
    "empty.vec": b"",
    "header.vec": b"2 3\n",
    "letters.vec": b"2 3\nthe a b c\nfilm 1 2 3\n",
    "ragged.vec": b"2 3\nthe 1 2 3\nfilm 1 2\n",
    "nan.vec": b"1 3\nthe nan nan nan\n",
    "binary.txt": bytes(range(256)) * 20,
    "garbage.zip": b"PK\x03\x04 no archive",
    "garbage.gz": b"\x1f\x8b\x08 no gzip at all",
    "words.bin": b"a b c",
    "empty.tar.gz": b"",
    "garbage.tar.gz": b"no archive",
    "empty.yaml": b"",
    "list.yaml": b"- 1\n- 2\n",
    "number.yaml": b"7\n",
    "tabs.yaml": b"settings:\n\tn_layers: 1\n",
    "open.yaml": b"settings: {n_layers: [1, 2\n",
    "tag.yaml": b"settings: !!python/object/apply:os.system ['true']\n",
    "alias.yaml": b"settings: &a {n_layers: *a}\n",
    "bomb.yaml": b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 117)),
    "deep.yaml": b"settings: " + b"[" * 1500 + b"]" * 1500,
    "two.yaml": b"settings: {n_layers: 1}\n---\nsettings: {n_layers: 2}\n",
    "latin.yaml": "settings: {n_layers: é}\n".encode("latin-1"),
    "unknown.yaml": b"settings: {layers: int(1, 2)}\n",
    "backward.yaml": b"settings: {n_layers: int(3, 1)}\n",
    "nothing.yaml": b"settings: {}\n",
    "extends.yaml": b"extends: no-such\n",
    "when.yaml": b"settings: {lstm_dropout: {range: 'float(0, 0.5)', when: n_layers > }}\n",
    "circle.yaml": b"settings:\n  n_layers: {range: 'int(1, 2)', when: hidden_dim > 9}\n"
    b"  hidden_dim: {range: 'int(8, 16)', when: n_layers > 1}\n",
    "try.yaml": b"settings: {n_layers: 'int(1, 2)'}\ntry_first: [{n_layers: 9}]\n",
    "latin.txt": "ein schöner Film\n".encode("latin-1"),
    "texts.csv": b"text\na film\n",
}  # fmt: skip
BY_HAND = (
    # Files of sentences.
    *(f"data {name} --vectors none" for name in FILES if name.endswith((".csv", ".tsv", ".jsonl", ".parquet", ".gz"))
      and name not in ("garbage.gz", "empty.tar.gz", "garbage.tar.gz", "split.csv", "split-empty.csv", "no-test.csv")),
    *(f"run {name} --split-column part --vectors none" for name in ("split.csv", "split-empty.csv", "no-test.csv")),
    "data words.doc", "data noextension", "data .", "data ''", "data mr:", "data mr:gone", "data mr:empty.tar.gz",
    "data mr:garbage.tar.gz", "data mr:.", "data mr:good.csv", "data http://127.0.0.1/x.csv", "data /dev/null",
    "data good.csv --text-column label", "data good.csv --label-column gone", "data good.csv --text-column ''",
    "data good.csv --split-column text", "data good.csv --encoding no-such", "data good.csv --encoding utf-16",
    "data good.csv --embedding-dim 0 --vectors none", "data good.csv --embedding-dim -3 --vectors none",
    "data good.csv --split 70/30", "data good.csv --seed -1 --vectors none", "data good.csv --seed 4294967296",
    "data --list --verify", "data --verify --clear --list", "data one two", "data good.csv --cache-dir good.csv",
    "data good.csv --cache-dir good.csv/below", "data good.csv --format yaml",
    # Files of word vectors.
    *(f"data good.csv --vectors {name}" for name in FILES if name.endswith((".vec", ".zip", ".bin"))),
    "data good.csv --vectors binary.txt", "data good.csv --vectors garbage.gz", "data good.csv --vectors no-such",
    "data good.csv --vectors gone/gone.vec", "data good.csv --vectors .", "data good.csv --vectors ''",
    # Search spaces.
    *(f"plan --show-space --space {name}" for name in FILES if name.endswith(".yaml")),
    "plan --show-space --space .", "plan --show-space --space ''", "plan --show-space --space gone.yaml",
    "run good.csv --space binary.txt", "run good.csv --set n_layers", "run good.csv --set n_layers=",
    "run good.csv --set =1", "run good.csv --set no_such=1", "run good.csv --set 'n_layers=int(1,2' ",
    "run good.csv --set 'n_layers=int(1,2,3,4,5)'", "run good.csv --set learning_rate=nan",
    "run good.csv --set 'learning_rate=log(0,1)'", "run good.csv --set hidden_dim=1e99", "run good.csv --set seed=3",
    "run good.csv --set 'pooling=[last,upside-down]'", "run good.csv --set hidden_dim=1 --set hidden_dim=2",
    # Studies that are none.
    *(f"{verb} foreign" for verb in ("best", "report", "confirm", "retrain")),
    *(f"{verb} {study}" for verb in ("best", "report", "confirm", "retrain", "export --to mlflow")
      for study in ("''", ".", "gone/gone", "good.csv", "torn", "binary", "begun")),
    "run good.csv --name torn --vectors none", "run good.csv --name binary --vectors none",
    "run good.csv --name two --vectors none", "run good.csv --warm-start gone --vectors none",
    "run good.csv --warm-start binary --vectors none", "run good.csv --results good.csv --vectors none",
    "best two --where n_layers", "best two --where no_such=1", "best two --where 'val_accuracy>many'",
    "best two --sort no_such", "best two --sort -", "best two --sort ''", "best two --state gone",
    "best two --format xml", "best two --expected --sort trial", "best two --top -1", "best two three",
    "report two --out good.csv/x.html", "report two --out .",
    "confirm two --top 0", "confirm two --seeds 1", "confirm two --folds 1", "confirm two --workers 0",
    "confirm two --format md", "confirm two --dataset gone.csv", "retrain two --trial worst", "retrain two --trial 99",
    "retrain two --trial -1", "retrain two --trial ''", "retrain two --trial 1", "retrain two --threads 0",
    "retrain two --precision fp8", "retrain two --on test", "retrain two --seeds 0", "retrain two --out good.csv",
    # Models that are none.
    *(f"{verb}" for folder in ("gone", "good.csv", ".", "results", "''")
      for verb in (f"predict {folder} hello", f"export {folder} --out x", f"serve {folder} --port 0")),
    "predict gone --file latin.txt --encoding no-such", "predict gone --file . ", "predict gone --file gone.txt",
    "predict gone --file texts.csv --text-column gone", "predict gone --file empty.csv --text-column text",
    "predict gone --file texts.csv", "predict gone hello --file texts.csv", "predict gone --file garbage.parquet "
    "--text-column text", "predict gone hello --out gone/gone/x.txt", "predict gone hello --out good.csv/x",
    "serve gone --host 'no such host'", "serve gone --port -1", "serve gone --port many", "serve gone --rate -1",
    # What is no command.
    "''", "runn", "best --help-me", "-x",  "run -- a b", "run --trials", "run --set",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder full of files that cannot be used, with a good table and a small study among them."""
    folder = tmp_path_factory.mktemp("malformed")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_sentences(folder / "good.csv", 60)
    two_trials(folder / "results" / "foreign")  # its spec says next to nothing
    trials = [trial(0, range(30)), trial(1, (), state="FAIL", epochs=(), error="TrainingError: the loss is nan")]
    write_study(folder / "results" / "two", trials, attributes(spec=FULL_SPEC))
    journal = (folder / "results" / "two" / "study.journal").read_bytes()
    for study, content in {
        "torn": journal[:-200] + b"\n" + journal[-200:],
        "binary": bytes(range(256)),
        "begun": journal.split(b"\n")[0] + b"\n",
    }.items():
        (folder / "results" / study).mkdir()
        (folder / "results" / study / "study.journal").write_bytes(content)
    return folder


BAD = {
    "--trials": ("many", "1.5", "", "1e3"),
    "--epochs": ("0x1g", "ten", "-"),
    "--window": ("wide", "4,5"),
    "--workers": ("0", "-1", "two"),
    "--seed": ("pi", "1.0"),
    "--sampler": ("", "TPE", "magic", "\x1b[31m"),
    "--stopping": ("never", "Halving", "\u202e"),
    "--grace": ("0", "-2", "late"),
    "--reduction": ("1", "0", "half"),
    "--cpus-per-trial": ("0", "-1", "all"),
    "--gpus-per-trial": ("-0.5", "nan", "inf", "2.5", "some"),
    "--time-budget": ("0s", "-1m", "tomorrow", "1m1h", "\n"),
    "--target": ("0", "-0.1", "1.1", "nan", "inf", "high"),
    "--patience-trials": ("0", "-3", "long"),
    "--name": ("..", "a/b", "a b", "-x\n", "\0", "a\nb", "\ud800"),
    "--space": ("no\nsuch", "\0", "x" * 5000, "\ud800", "/dev/null/x"),
    "--set": ("", "x", "=", "n_layers=int(", "n_layers=1;2", "a=b\nc=d", "hidden_dim=" + "9" * 5000),
}
"""Values of the options of a search, each of which is refused by itself."""


def generated(count: int, seed: int) -> Iterator[tuple[str, ...]]:
    """One to four options with bad values in any order."""
    draw = random.Random(seed)
    for _ in range(count):
        names = draw.sample(sorted(BAD), draw.randint(1, 4))
        yield (draw.choice(("run", "plan")), "good.csv", *(w for n in names for w in (n, draw.choice(BAD[n]))))


@pytest.mark.parametrize(
    "words", [*map(shlex.split, BY_HAND), *generated(60, seed=1)], ids=lambda words: ascii(" ".join(words))[:60]
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    words: Sequence[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """One line that nothing in it can break, and no study is begun."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("SENTUNE_CACHE", str(place / "cache"))
    before = sorted(path.name for path in (place / "results").iterdir())
    code, _, err = sentune(monkeypatch, capsys, *words)
    assert code == 2, err
    assert err.startswith("sentune: ")
    assert len(err.splitlines()) == 1
    assert err.endswith("\n")
    assert sorted(path.name for path in (place / "results").iterdir()) == before
