"""tuning.cli.app: a mistake is one line and exit code 2; nothing is computed before it is noticed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import TrainingError
from tests.support.cli import sentune
from tests.support.journals import two_trials
from tuning.cli import options


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"{i},text number {i} of them,{'ab'[i % 2]},one,{i}" for i in range(60)]
    path.write_text("\n".join(["id,body,kind,constant,code", *rows]))
    return path


MISTAKES = {
    "run ~nobody-of-this-name/x.csv": "cannot tell which folder '~nobody-of-this-name/x.csv' begins with: write it out",
    "run --time-budget 9999999h": "--time-budget must be at most 1000h, got '9999999h'; leave it out for no limit",
    "run --trials 0": "--trials must be at least 1, got 0",
    "run --epochs 0 --trials -1": "--trials must be at least 1, got -1; --epochs must be at least 1, got 0",
    "run --gpus-per-trial 0.5": "this machine has none that torch can use: pass --gpus-per-trial 0",
    "run --cpus-per-trial 1000": "--cpus-per-trial 1000 is more than the ",
    "run --workers 0": "--workers must be at least 1, got 0",
    "run --name a/b": "--name must be letters, digits, dots, plus signs and dashes, got 'a/b'",
    "run --space no-such": "search space 'no-such': give one of default, notebook, quick, or the path of a YAML file",
    "run --set lr=log(1,0)": "log",
    "run --grace 0": "--grace must be at least 1, got 0",
    "run --sampler magic": "--sampler must be one of tpe, random, gp, cmaes, qmc, got 'magic'",
    "run --reduction 1": "--reduction must be at least 2, got 1",
    "run --stopping asha": "'asha' is not one of 'halving', 'none'",
    "run --bogus": "No such option: --bogus",
    "run --trials many": "Invalid value for '--trials'",
    "run no-such.csv": "no-such.csv",
    "run CSV --text-column subject --label-column kind": (
        "no column 'subject'; --text-column can be 'id', 'body', 'kind', 'constant', 'code'"
    ),
    "run CSV --text-column body --label-column constant": "one",
    "run --address here": "--address must be HOST:PORT of the cluster's head, or auto, got 'here'",
    "run --address 127.0.0.1:1": "no Ray cluster answers at ",
    "run --storage ftp://host/x": "--storage ftp://host/x: ",
    "run --storage CSV/x": "cannot keep checkpoints in ",
    "data no-such.csv": "no-such.csv",
    "plan --address auto": "plan tries settings on this machine and knows no other: leave --address out",
    "plan --gpus-per-trial auto": "--gpus-per-trial auto asks for a GPU and this machine has none",
    "plan no-such.csv": "no-such.csv",
    "run --gpus-per-trial half": "--gpus-per-trial must be a number such as 0.5, or auto, got 'half'",
    "run --gpus-per-trial 0.001": "must be 0, or a share of one GPU from 0.01 to 1 such as 0.5, got 0.001",
    "run --retry-oom": "--retry-oom is for trials on a GPU: pass --gpus-per-trial as well, or leave it out",
    "run --time-budget 30": "--time-budget must be a time such as 90s, 30m, 2h or 1h30m, got '30'",
    "run --target 80": "--target must be a validation accuracy above 0 and at most 1, such as 0.8, got 80.0",
    "run --patience-trials 0": "--patience-trials must be at least 1, got 0",
    "plan --show-space --set lr=log(1,0)": "log",
    "plan --trials 0 --show-space --grace 0": "grace must be at least 1, got 0",
    "best no-such": "no study 'no-such' in ",
    "best no-such --top 0": "--top must be at least 1, got 0",
    "best": "Missing argument 'STUDY'",
    "report no-such": "no study 'no-such' in ",
    "retrain no-such": "no study 'no-such' in ",
    "retrain no-such --seeds 0 --threads 0": "--seeds must be at least 1, got 0; --threads must be at least 1, got 0",
    "retrain no-such --on both": "Invalid value for '--on'",
    "confirm no-such": "no study 'no-such' in ",
    "confirm no-such --seeds 1": "--seeds must be at least 2, to be compared in pairs, got 1",
    "confirm": "Missing argument 'STUDY'",
    "predict no-such": "give sentences, or --file",
    "predict no-such hello": "no saved model at no-such",
    "predict no-such --file gone.txt": "gone.txt",
    "predict no-such --file gone.csv --text-column text": "gone.csv: no such file",
    "predict no-such hello --format xml": "Invalid value for '--format'",
    "predict no-such --text-column a hello": "--text-column goes with --file and a file ending in .csv",
    "predict no-such hello --out .": "--out must be a file, . is a folder",
    "export no-such --out onnx": "no saved model at no-such",
    "export no-such": "a model needs --out FOLDER to write to; a study needs --to mlflow",
    "export no-such --to mlflow": "no study 'no-such' in ",
    "export no-such --to mlflow --out x": "--out goes with a model, and --to with a study",
    "export no-such --out onnx --format xml": "Invalid value for '--format'",
    "serve no-such --port 0": "no saved model at no-such",
    "serve no-such --port 70000": "Invalid value for '--port'",
    "serve no-such --host 192.0.2.1": "cannot listen on 192.0.2.1: it is no address of this machine",
    "serve no-such --rate 0": "Invalid value for '--rate'",
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


def test_a_label_column_of_ids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("\n".join(["text,label", *(f"a sentence about {i},{i}" for i in range(5000))]))
    monkeypatch.setenv("SENTUNE_CACHE", str(tmp_path / "cache"))
    code, _, err = sentune(monkeypatch, capsys, "run", str(path), "--results", str(tmp_path / "results"))
    assert code == 2
    assert "label" in err
    assert "5,000" in err
    assert err.count("\n") == 1


def test_an_error_that_quotes_hostile_data_cannot_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = sentune(monkeypatch, capsys, "best", "evil\x1b[31m\u202e", "--results", str(tmp_path))
    assert "\x1b" not in err
    assert "\u202e" not in err


def test_a_study_is_found_by_name_and_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_trials(tmp_path / "results" / "mine")
    assert options.study_folder("mine", tmp_path / "results") == tmp_path / "results" / "mine"
    assert options.study_folder(f"{tmp_path}/results/mine", Path("results")) == tmp_path / "results" / "mine"


def test_paths_are_kept_absolute_and_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    params = dict.fromkeys(options.DATA_OPTIONS)
    chosen = options.data_options(params | {"dataset": "a.csv", "vectors": "glove-50d", "split": "80/10/10"})
    assert (chosen["dataset"], chosen["vectors"]) == (str(tmp_path / "a.csv"), "glove-50d")
    chosen = options.data_options(params | {"dataset": "mr:x.tar.gz", "vectors": "sub/v.vec", "split_column": "part"})
    assert (chosen["dataset"], chosen["vectors"]) == (f"mr:{tmp_path}/x.tar.gz", f"{tmp_path}/sub/v.vec")
    assert chosen["split"] == "column"


def test_python_m_tuning_is_the_same_program() -> None:
    both = [
        subprocess.run([sys.executable, *words, "--help"], capture_output=True, text=True, check=True).stdout
        for words in (
            ["-m", "tuning"],
            ["-c", "import sys; sys.argv[0] = 'sentune'; from tuning.cli.app import main; main()"],
        )
    ]
    for verb in ("run", "best", "report", "confirm", "retrain", "predict", "export", "serve", "data"):
        assert all(f"  {verb} " in text for text in both)


def test_plan_takes_the_options_of_run_and_shows_the_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "snippets", "--space", "notebook", "--set", "n_layers=int(1,4)", "--trials", "3", "--show-space")
    code, out, err = sentune(monkeypatch, capsys, *words)
    assert (code, err) == (0, "")
    assert out.startswith("space notebook: 6 settings are searched\n")
    assert re.search(r"^ *lstm_dropout +float\(0, 0.5\) +n_layers in \(2, 3, 4\) +searched$", out, re.MULTILINE)
    assert re.search(r"^ *clip_norm +none +fixed$", out, re.MULTILINE)


def test_the_program_alone_shows_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = sentune(monkeypatch, capsys)
    assert (code, err) == (2, "")
    assert "Hyperparameter search for LSTM sentence classifiers." in out.splitlines()[2]


def test_names_of_data_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("snippets", "mr", "none", "fasttext", "glove-50d", "mine.csv"):
        (tmp_path / name).mkdir()
    found = [options.absolute(name) for name in ("snippets", "mr", "none", "fasttext", "glove-50d", "mine.csv")]
    assert found == ["snippets", "mr", "none", "fasttext", "glove-50d", str(tmp_path / "mine.csv")]


def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tuning", "plan", "--show-space"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (2, "sentune: cannot write the output: the disk is full\n")


def test_a_training_that_diverges_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(*_: object) -> None:
        raise TrainingError("the loss is nan in epoch 1")

    monkeypatch.setattr("tuning.retrain.command.retrain", diverges)
    code, out, err = sentune(monkeypatch, capsys, "retrain", "s")
    assert (code, out, err) == (2, "", "sentune: the loss is nan in epoch 1\n")
