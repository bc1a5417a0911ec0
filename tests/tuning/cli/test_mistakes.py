"""A mistake is one line and exit code 2, and is found before any computation."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.assessed_studies import FULL_SPEC, attributes, trial, write_study
from tests.support.cli import sentune
from tests.support.journals import two_trials
from tests.support.studies import write_sentences

Capture = pytest.CaptureFixture[str]
BAD = {
    "--epoch-sentences": ("0", "-5", "1e5", "all", "\u0663", "a pass"),
    "--gpus-per-trial": ("-0.5", "nan", "inf", "2.5", "some"),
    "--tokenizer": ("french", "", "English"),
    "--name": ("..", "a b", "-x\n", "\0", "a\nb", "\ud800"),
    "--space": ("no\nsuch", "\0", "x" * 5000, "\ud800", "/dev/null/x"),
    "--set": ("", "x", "=", "n_layers=int(", "n_layers=1;2", "a=b\nc=d", "hidden_dim=" + "9" * 5000),
}
"""Values of options that are refused; MISTAKES has more with their messages, test_bad_inputs.py what is no number."""


@pytest.fixture(autouse=True)
def _ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither early nor for a search, which an option that is not refused would begin."""
    monkeypatch.setattr("tuning.backend.background_ray.BackgroundRay.start", lambda self: None)
    monkeypatch.setattr("tuning.backend.background_ray.BackgroundRay.session", lambda *_: pytest.fail("a search began"))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"{i},text number {i} of them,{'ab'[i % 2]},one,{i}" for i in range(60)]
    path.write_text("\n".join(["id,body,kind,constant,code", *rows]))
    return path


MISTAKES = {
    "run --results ~no-such-user": "cannot find the home folder of '~no-such-user'; pass the whole path",
    "run ~no-such-user/x.csv": "cannot find the home folder of '~no-such-user/x.csv'; pass the whole",
    "run --time-budget 9999999h": "--time-budget must be at most 1000h, got '9999999h'; leave it out for no limit",
    "run --trials 0": "--trials must be from 1 to 100,000, got 0",
    "run --epochs 0": "--epochs must be auto or a whole number from 1 to 99999, got '0'",
    "run --epoch-sentences few": "--epoch-sentences must be auto or a whole number from 1 to 999999999, got 'few'",
    "run --lag -1 --trials -1": "from 1 to 100,000, got -1; --lag must be from 0 to 1,000,000, got -1.0",
    "run --parallelism 0": "--parallelism must be from 1 to 10,000, got 0",
    "plan no-such.csv --trials 0": "--trials must be from 1 to 100,000, got 0",
    "run --gpus-per-trial 0.5": "this machine has none that torch can use; pass --gpus-per-trial 0",
    "run --cpus-per-trial 1000": "--cpus-per-trial 1000 is more than the ",
    "run --workers 0": "--workers must be from 1 to 10,000, got 0",
    "run --name a/b": "plus signs and dashes, and begin with one of the first three, got 'a/b'",
    "run --space no-such": "search space 'no-such'; pass one of default, notebook, quick, or the path of a YAML file",
    "run --set lr=log(1,0)": "log",
    "run --grace 0": "--grace must be from 1 to 99,999, got 0",
    "run --sampler magic": "--sampler must be one of tpe, random, gp, cmaes, qmc, got 'magic'",
    "run --reduction 1": "--reduction must be from 2 to 1,000, got 1",
    "run --stopping none --grace -5 --reduction 0": (
        "--grace must be from 1 to 99,999, got -5; --reduction must be from 2 to 1,000, got 0"
    ),
    "run --stopping none --grace 2 --reduction 4": (
        "--grace must be left out with --stopping none, got 2; --reduction must be left out with --stopping none, got 4"
    ),
    "run CSV --split folds:5": "got 'folds:5' without a fold; did you mean --validation folds:5?",
    "run --stopping halving": "'halving' is not one of 'asha', 'none'",
    "run --bogus": "No such option: --bogus",
    "run --trials many": "Invalid value for '--trials'",
    "run no-such.csv": "no-such.csv",
    "run CSV --text-column subject --label-column kind": (
        "no column 'subject'; choose --text-column from 'id', 'body', 'kind', 'constant', 'code'"
    ),
    "run CSV --text-column body --label-column constant": "one",
    "run --address here": "--address must be HOST:PORT of the cluster's head, or auto, got 'here'",
    "run --address 127.0.0.1:1": "no Ray cluster answers at ",
    "run --storage ftp://host/x": "--storage ftp://host/x: ",
    "run --storage CSV/x": "cannot keep checkpoints in ",
    "data no-such.csv": "no-such.csv",
    "data a.csv --suspects x --text-column a": "--suspects reads the data of its study; leave out their options",
    "data --suspects x --list": "--list, --verify, --clear and --suspects exclude one another; pass one of them",
    "data --format csv": "--format csv is for --suspects only; choose text or json",
    "data --list --format json": "--list, --verify and --clear print text, got --format json; leave it out",
    "data --list --cache-dir CSV": "--cache-dir must be a folder, or a new one, got '",
    "data --verify --cache-dir CSV": "--cache-dir must be a folder, or a new one, got '",
    "data --clear --cache-dir CSV": "--cache-dir must be a folder, or a new one, got '",
    "list --results CSV": "--results must be a folder, or a new one, got '",
    "data CSV --clear": "--list, --verify and --clear are for the whole cache; leave out DATASET and its options",
    "data --verify --seed 7": "--list, --verify and --clear are for the whole cache; leave out DATASET and its options",
    "plan --address auto": "plan measures configurations on this machine only; leave out --address",
    "plan --gpus-per-trial auto": "--gpus-per-trial auto needs a GPU, and this machine has none",
    "plan no-such.csv": "no-such.csv",
    "run --gpus-per-trial half": "--gpus-per-trial must be a number such as 0.5, or auto, got 'half'",
    "run --gpus-per-trial 0.001": "must be 0, or a share of one GPU from 0.01 to 1 such as 0.5, got 0.001",
    "run --retry-oom": "--retry-oom is for trials on a GPU; pass --gpus-per-trial as well, or leave it out",
    "run --time-budget 30": "--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got '30'",
    "run --target 80": "--target must be a validation accuracy above 0 and at most 1, such as 0.8, got 80.0",
    "run --metric f1": "--metric must be one of accuracy, macro_f1, balanced_accuracy, mcc, log_loss, roc_auc, got 'f1",
    "run --metric mcc --target 2": "--target must be a validation MCC above -1 and at most 1, such as 0.8, got 2.0",
    "run --metric log_loss --target 0": "--target must be a validation log loss above 0, such as 0.8, got 0.0",
    "run --set metric=mcc": "metric is the same for all trials of a study and not part of a space; pass it as an",
    "best no-such --trial one": "Invalid value for '--trial'",
    "best no-such --trial 0 --expected": "--trial shows one trial; leave out --expected, --state, --where, --sort and",
    "best no-such --trial 0 --top 3": "--trial shows one trial; leave out --expected, --state, --where, --sort and",
    "best no-such --expected --top 3": "--expected shows no trials; leave out --state, --where, --sort and --top",
    "best no-such --trial 0 --format csv": "--format must be table or json with --trial, got 'csv'",
    "run --patience-trials 0": "--patience-trials must be from 1 to 100,000, got 0",
    "plan --show-space --set lr=log(1,0)": "log",
    "plan --show-space --format json": "--show-space prints text, got --format json; leave it out",
    "plan --trials 0 --show-space --grace 0": "grace must be from 1 to 99,999, got 0",
    "best no-such": "no study 'no-such' in ",
    "best /usr": "/usr holds no study, pass the name or the folder of one",
    "best no-such --state bad": ": 'bad' is not one of 'done', 'stopped', 'failed', 'paused', 'running', 'all'",
    "best no-such --top 0": "--top must be from 1 to 1,000,000, got 0",
    "best": "Missing argument 'STUDY'",
    "report no-such": "no study 'no-such' in ",
    "retrain no-such": "no study 'no-such' in ",
    "retrain no-such --seeds 0 --threads 0": "must be from 1 to 100, got 0; --threads must be from 1 to 1,024, got 0",
    "retrain no-such --on both": "Invalid value for '--on'",
    "retrain no-such --precision fp8": "--precision must be one of fp32, bf16, got 'fp8'",
    "retrain no-such --seeds 2 --on train+val": "--seeds must be 1 with --on train+val, which leaves no validation",
    "distill model no-such": "no study 'no-such' in ",
    "distill model no-such --text-column body": "--text-column must be given with --unlabelled only, got 'body'",
    "ensemble no-such": "no study 'no-such' in ",
    "ensemble no-such --size 0 --max-cost 0": (
        "--size must be from 1 to 100, got 0; --max-cost must be from 1 to 1,000,000,000,000,000, got 0"
    ),
    "ensemble gone/gone": "no study 'gone' in ",
    "confirm no-such": "no study 'no-such' in ",
    "confirm no-such --seeds 1": "--seeds must be from 2 to 100, to be compared in pairs, got 1",
    "confirm no-such --top 0 --folds 2 --workers 0": (
        "--top must be from 1 to 100, got 0; --folds must be from 3 to 100, got 2; --workers must be from 1 to 10,000"
    ),
    "confirm": "Missing argument 'STUDY'",
    "predict no-such": "pass sentences, or --file",
    "predict no-such hello": "no saved model at no-such",
    "predict no-such -5": "No such option: -5; put -- before a sentence that begins with -, or see sentune --help",
    "serve no-such --port 99999": "Invalid value for '--port': must be less than or equal to 65535",
    "predict no-such --file gone.txt": "gone.txt",
    "predict no-such --file gone.csv --text-column text": "gone.csv: no such file",
    "predict no-such hello --format xml": "Invalid value for '--format'",
    "predict no-such --text-column a hello": "--text-column must be used with --file and a file ending in .csv",
    "predict no-such hello --out .": "--out must be a file, . is a folder",
    "export no-such": "no saved model at no-such",
    "export no-such --uri x": "--uri is for a study and --to mlflow; leave it out",
    "export no-such --to mlflow --uri=": "--uri must be a server or a store, got ''",
    "export no-such --to mlflow": "no study 'no-such' in ",
    "export no-such --to mlflow --out x": "--out is for a model, --to for a study; pass one of them",
    "export no-such --out onnx --format xml": "Invalid value for '--format'",
    "predict no-such hello --min-probability 2": "--min-probability must be from 0 to 1, got 2.0",
    "predict no-such hello --min-probability 0.8 --at-accuracy 0.9": "--at-accuracy determines --min-probability",
    "predict no-such hello --at-accuracy 0": "--at-accuracy must be above 0 and below 1, got 0.0",
    "serve no-such --at-accuracy 95": "--at-accuracy must be above 0 and below 1, got 95.0",
    "serve no-such --port 0": "no saved model at no-such",
    "serve no-such --host 192.0.2.1": "cannot listen on 192.0.2.1: it is no address of this machine",
    "serve no-such --rate 0": "Invalid value for '--rate'",
    "serve no-such --allowed-hosts http://x": "--allowed-hosts must be names without ports, separated by commas",
    "serve no-such --threads 0": "Invalid value for '--threads'",
    "predict no-such hello --threads 2000": "Invalid value for '--threads'",
    "ensemble no-such --workers 0": "--workers must be from 1 to 10,000, got 0",
    "list --results=": "a path is empty; pass a file or folder, or leave the option out",
    "predict no-such hello --out x.csv.gz": "got x.csv.gz; choose a name that ends in .tsv or .txt",
    "predict no-such hello --out x.jsonl": "--out x.jsonl must be used with --format json, or end in .tsv or .txt",
    "predict no-such hello --out x.csv": "--out x.csv must end in .tsv or .txt, the format of its content",
    "predict no-such --file a.tsv --out x.tsv": "--out x.tsv must end in .csv or .txt, the format of its content",
    "predict no-such hello --out gone/x": "--out must be in a folder that exists, there is no gone",
    "predict no-such hello --out /dev/null": "--out must be a regular file, /dev/null is a device, a pipe or a socket",
    "predict no-such --file /dev/zero": "/dev/zero: is a pipe, a device or a socket; pass a regular file",
    "bogus": "No such command 'bogus'; see sentune --help",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: str, csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(csv.parent)
    monkeypatch.setenv("SENTUNE_CACHE", str(csv.parent / "cache"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code, out, err = sentune(monkeypatch, capsys, *words.replace("CSV", str(csv)).split())
    assert (code, out) == (2, "")
    assert err.startswith("sentune: ")
    assert MISTAKES[words] in err
    assert err.count("\n") == 1
    assert not (csv.parent / "results").exists()


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
    "no-label.csv": b"text,kind,group\n" + b"a film,good,x\nthe film,bad,y\n" * 9,
    "labels-empty.csv": b"text,label\n" + b"a film,\n" * 9,
    "texts-empty.csv": b"text,label\n" + b",good\n,bad\n" * 9,
    "split.csv": b"text,label,part\n" + b"a film,good,left\nthe film,bad,train\n" * 9,
    "split-empty.csv": b"text,label,part\n" + b"a film,good,\nthe film,bad,\n" * 9,
    "no-test.csv": b"text,label,part\n" + b"a film,good,val\nthe film,bad,val\n" * 9,
    "ids.csv": b"text,label\n" + b"".join(b"a sentence about %d,%d\n" % (i, i) for i in range(5000)),
    "soft.csv": b"text,p_good,p_bad\n" + b"a film,0.3,0.7\nthe film,0.6,0.6\n" * 9,
    "empty.tsv": b"",
    "commas.tsv": b"text,label\na film,good\n",
    "broken.jsonl": b'{"text": "a film", "label": "good"}\n{"text": \n',
    "list.jsonl": b"[1, 2]\n",
    "numbers.jsonl": b"1\n2\n3\n",
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
    "open.yaml": b"settings: {n_layers: [1, 2\n",
    "tag.yaml": b"settings: !!python/object/apply:os.system ['true']\n",
    "alias.yaml": b"settings: &a {n_layers: *a}\n",
    "bomb.yaml": b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 117)),
    "deep.yaml": b"settings: " + b"[" * 500 + b"]" * 500,
    "two.yaml": b"settings: {n_layers: 1}\n---\nsettings: {n_layers: 2}\n",
    "latin.yaml": "settings: {n_layers: é}\n".encode("latin-1"),
    "unknown.yaml": b"settings: {layers: 'int(1, 2)'}\n",
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
    "data good.csv --probability-columns p_a", "data good.csv --probability-columns p_a,p_b",
    "data good.csv --probability-columns text,label", "data mr --probability-columns p_a,p_b",
    "data soft.csv --probability-columns p_good,p_bad --vectors none",
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
    "plan --show-space --space .", "plan --show-space --space ''", "plan --show-space --space gone.yaml",
    "run good.csv --space binary.txt", "run good.csv --set learning_rate=nan",
    *(f"run good.csv --vectors none --first-trials {name}" for name in FILES if name.endswith(".yaml")),
    "run good.csv --vectors none --first-trials gone.yaml", "run good.csv --vectors none --first-trials ''",
    "run good.csv --vectors none --first-trials .", "run good.csv --vectors none --first-trials binary.txt",
    # Studies that are none.
    *(f"{verb} foreign" for verb in ("best", "report", "confirm", "ensemble", "retrain", "distill model")),
    *(f"{verb} {study}"
      for verb in ("best", "report", "confirm", "ensemble", "retrain", "distill model", "export --to mlflow")
      for study in ("''", ".", "gone/gone", "good.csv", "torn", "binary", "begun")),
    "run good.csv --name torn --vectors none", "run good.csv --name binary --vectors none",
    "run good.csv --name two --vectors none", "run good.csv --warm-start gone --vectors none",
    "run good.csv --warm-start binary --vectors none", "run good.csv --results good.csv --vectors none",
    "best two --where n_layers", "best two --where no_such=1", "best two --where 'val_accuracy>many'",
    "best two --sort no_such", "best two --sort -", "best two --sort ''",
    "best two --trial 99", "best two --trial -1", "best two --trial 0 --format md",
    "best two --format xml", "best two --expected --sort trial", "best two three",
    "report two --out good.csv/x.html", "report two --out .",
    "confirm two --format md", "confirm two --dataset gone.csv", "retrain two --trial worst", "retrain two --trial 99",
    "distill gone two", "distill . two", "distill good.csv two", "distill two two --out two",
    "retrain two --trial -1", "retrain two --trial ''", "retrain two --trial 1",
    "retrain two --precision fp8", "retrain two --out good.csv",
    # Models that are none.
    *(f"{verb}" for folder in ("gone", "good.csv", ".", "results", "''")
      for verb in (f"predict {folder} hello", f"export {folder} --out x", f"serve {folder} --port 0")),
    "predict gone --file latin.txt --encoding no-such", "predict gone --file . ",
    "predict gone --file texts.csv --text-column gone", "predict gone --file empty.csv --text-column text",
    "predict gone --file texts.csv", "predict gone hello --file texts.csv", "predict gone --file garbage.parquet "
    "--text-column text", "predict gone hello --out gone/gone/x.txt", "predict gone hello --out good.csv/x",
    "serve gone --host 'no such host'", "serve gone --port many", "serve gone --rate -1",
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


ALONE = [("run", "good.csv", name, value) for name in BAD for value in BAD[name]]


@pytest.mark.parametrize("words", [*map(shlex.split, BY_HAND), *ALONE], ids=lambda words: ascii(" ".join(words))[:60])
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
