"""tuning.tracking.mlflow with MLflow itself: a study exists once after any number of exports."""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from core.errors import ConfigError, UserError
from core.io.text import redact_uris
from tests.support.command import Command
from tests.support.epochs import epoch
from tests.support.loaded import loaded_by_command
from tests.support.small_study import SPEC, add, small_study
from tuning.tracking import mlflow as mlflow_export
from tuning.tracking.mlflow import export_to_mlflow

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs the extra `mlflow`"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of MLflow's own libraries
]
EXPORT = ("export", "small", "--to", "mlflow", "--results")


@pytest.fixture(scope="module")
def loaded(command: Command) -> set[str]:
    """The large modules that the command loads for an export. It makes a database in its results folder."""
    with small_study(command.results / "small"):
        pass
    return loaded_by_command([*EXPORT, str(command.results)], "mlflow", "torch", "ray")


@pytest.fixture(scope="module")
def uri(command: Command, loaded: set[str]) -> str:
    """That database, which MLflow takes seconds to make: each study has its test's name."""
    return f"sqlite:///{command.results}/mlflow.db"


def client_of(uri: str) -> Any:
    """MLflow's import takes a second, which processes with other tests save."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def exported(uri: str, name: str) -> "dict[int, Run]":
    """Runs by the trial's number."""
    client = client_of(uri)
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    return {int(run.data.tags["sentune.trial"]): run for run in runs}


def history(uri: str, run: "Run", metric: str) -> list[tuple[int, float]]:
    client = client_of(uri)
    return sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric))


def test_two_exports_at_the_same_time_make_each_run_once(tmp_path: Path, uri: str) -> None:
    with small_study(tmp_path):
        pass
    export_to_mlflow(tmp_path, uri)
    for number, run in exported(uri, tmp_path.name).items():
        if number > 0:
            client_of(uri).delete_run(run.info.run_id)
    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(export_to_mlflow, [tmp_path] * 2, [uri] * 2))
    assert sorted(line.rpartition(": ")[2] for line in lines) == ["5 runs, 0 of them new", "5 runs, 4 of them new"]


def test_an_export_that_waited_for_a_newer_one_removes_no_run(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = mlflow_export.locked
    with small_study(tmp_path) as journal:

        @contextlib.contextmanager
        def waited(cache: Path, name: str) -> Iterator[None]:
            monkeypatch.setattr(mlflow_export, "locked", locked)
            add(journal, 0.7)
            export_to_mlflow(tmp_path, uri)
            with locked(cache, name):
                yield

        monkeypatch.setattr(mlflow_export, "locked", waited)
        export_to_mlflow(tmp_path, uri)
    assert sorted(exported(uri, tmp_path.name)) == [0, 1, 2, 3, 4, 5]


def test_trials_are_runs_with_settings_epochs_and_state(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_study(tmp_path):
        pass
    assert export_to_mlflow(tmp_path, uri) == f"experiment {tmp_path.name} at {uri}: 5 runs, 5 of them new"
    runs = exported(uri, tmp_path.name)
    assert {number: run.info.status for number, run in runs.items()} == {
        0: "FINISHED", 1: "KILLED", 2: "FAILED", 3: "FINISHED", 4: "RUNNING",
    }  # fmt: skip
    assert runs[1].data.params["hidden_dim"] == "96"
    assert set(runs[0].data.params) == {
        "n_layers", "hidden_dim", "lstm_dropout", "fc_dropout", "learning_rate", "freeze_embedding",
    }  # fmt: skip
    assert history(uri, runs[0], "val_accuracy") == [(1, 0.6), (2, 0.8), (3, 0.7)]
    assert history(uri, runs[0], "best_val_accuracy") == [(1, 0.6), (2, 0.8), (3, 0.8)]
    assert runs[0].data.tags["state"] == "COMPLETE"
    assert runs[2].data.tags["error"] == "TrainingError: \x1b[31mNaN"
    assert runs[3].data.tags["origin"] == "copy of 0"
    assert runs[0].info.end_time - runs[0].info.start_time == 3 * 2000
    points = client_of(uri).get_metric_history(runs[0].info.run_id, "val_accuracy")
    assert sorted(each.timestamp - runs[0].info.start_time for each in points) == [2000, 4000, 6000]
    sent: list[str] = []
    monkeypatch.setattr("mlflow.MlflowClient.log_batch", lambda client, run_id, **more: sent.append(run_id))
    export_to_mlflow(tmp_path, uri)
    assert set(sent) == {runs[4].info.run_id}  # the closed runs of unchanged trials are left alone


def test_the_command_makes_one_database_and_loads_neither_torch_nor_ray(
    command: Command, loaded: set[str], uri: str
) -> None:
    assert loaded == {"mlflow"}
    assert sorted(exported(uri, "small")) == [0, 1, 2, 3, 4]
    assert command.succeed(*EXPORT, str(command.results)).endswith(": 5 runs, 0 of them new\n")
    assert sorted(path.name for path in command.results.glob("ml*")) == ["mlflow.db"]


def test_once_more_adds_what_is_new_and_doubles_nothing(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_export, "MAX_RUNS", 2)  # they come in several answers
    with small_study(tmp_path) as journal:
        export_to_mlflow(tmp_path, uri)
        journal.record_epoch(4, epoch(2, 0.65))
        journal.finish_trial(4, TrialState.COMPLETE, {}, 2)
        assert export_to_mlflow(tmp_path, uri) == f"experiment {tmp_path.name} at {uri}: 5 runs, 0 of them new"
        export_to_mlflow(tmp_path, uri)
    runs = exported(uri, tmp_path.name)
    assert len(runs) == 5
    assert (runs[4].info.status, history(uri, runs[4], "val_accuracy")) == ("FINISHED", [(1, 0.55), (2, 0.65)])
    assert history(uri, runs[0], "val_loss") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_a_trial_that_continues_after_its_run_was_closed_is_updated(tmp_path: Path, uri: str) -> None:
    """A study with more trials continues some that were stopped."""
    with small_study(tmp_path) as journal:
        export_to_mlflow(tmp_path, uri)
        journal.reopen()
        export_to_mlflow(tmp_path, uri)
        assert exported(uri, tmp_path.name)[1].info.status == "RUNNING"
        journal.record_epoch(1, epoch(2, 0.9, seconds=2.0))
        journal.finish_trial(1, TrialState.COMPLETE, {}, 2)
        export_to_mlflow(tmp_path, uri)
    run = exported(uri, tmp_path.name)[1]
    assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "COMPLETE")
    assert history(uri, run, "val_accuracy") == [(1, 0.5), (2, 0.9)]
    assert run.info.end_time - run.info.start_time == 2 * 2000


def test_a_run_with_epochs_that_no_longer_count_is_replaced(tmp_path: Path, uri: str) -> None:
    """With more trials or another target, a trial may stop earlier than before."""
    with small_study(tmp_path) as journal:
        export_to_mlflow(tmp_path, uri)
        journal.reopen()
        journal.finish_trial(0, TrialState.PRUNED, None, 1)
        export_to_mlflow(tmp_path, uri)
        runs = exported(uri, tmp_path.name)
        assert (len(runs), runs[0].info.status) == (5, "KILLED")
        assert history(uri, runs[0], "best_val_accuracy") == [(1, 0.6)]
        journal.set_study_attr("early_end", {"reason": "target 0.5 reached by trial 1", "n_trials": 2})
        export_to_mlflow(tmp_path, uri)
    assert sorted(exported(uri, tmp_path.name)) == [0, 1]


def test_an_export_that_was_cut_short_is_completed(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_study(tmp_path):
        pass
    monkeypatch.setattr(mlflow_export, "BATCH", 2)
    sent: list[object] = []
    log_batch = type(client_of(uri)).log_batch

    def cut(client: Any, run_id: str, metrics: Sequence[object] = (), **more: object) -> object:
        if metrics and len(sent) == 4:
            raise KeyboardInterrupt
        sent.extend([metrics] if metrics else [])
        return log_batch(client, run_id, metrics, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mlflow.MlflowClient.log_batch", cut)
        export_to_mlflow(tmp_path, uri)
    assert exported(uri, tmp_path.name)[0].info.status == "RUNNING"
    export_to_mlflow(tmp_path, uri)
    runs = exported(uri, tmp_path.name)
    assert len(runs) == 5
    for metric in ("val_accuracy", "val_loss", "train_loss", "seconds", "best_val_accuracy"):
        assert [step for step, _ in history(uri, runs[0], metric)] == [1, 2, 3]


def test_another_study_of_the_same_name_is_not_mixed_in(tmp_path: Path, uri: str) -> None:
    for place, spec, study in (("a", SPEC, "0"), ("b", {**SPEC, "seed": 43}, "0"), ("again", SPEC, "1")):
        with small_study(tmp_path / place / "same", spec, study):
            pass
    export_to_mlflow(tmp_path / "a" / "same", uri)
    for other in ("b", "again"):
        with pytest.raises(
            ConfigError, match=r"experiment 'same' at sqlite:.* contains something else than this study; rename"
        ):
            export_to_mlflow(tmp_path / other / "same", uri)
    client = client_of(uri)
    client.delete_experiment(client.get_experiment_by_name("same").experiment_id)
    with pytest.raises(ConfigError, match=r"experiment 'same' at sqlite:.* is deleted; rename or purge it"):
        export_to_mlflow(tmp_path / "a" / "same", uri)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    with small_study(tmp_path / "s"):
        pass
    (tmp_path / "notes.txt").write_text("These are my notes, and no database at all.\n" * 100)
    with pytest.raises(UserError, match=r"^cannot export to sqlite:.*/notes\.txt: .*not a database") as caught:
        export_to_mlflow(tmp_path / "s", f"sqlite:///{tmp_path}/notes.txt")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; start or repair the store, or pass another --uri")


@pytest.mark.parametrize(
    "place", ["bogus://me:secret@host/x", "http://me:secret@127.0.0.1:9", "http://me:secret@[::1:9"]
)
def test_a_store_that_cannot_be_used_is_one_line(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with small_study(tmp_path):
        pass
    with pytest.raises(UserError, match=f"cannot export to {re.escape(redact_uris(place))}: ") as caught:
        export_to_mlflow(tmp_path, place)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not [each for each in caplog.records if each.name.startswith("urllib3")]


def test_nothing_is_sent_elsewhere_and_no_password_is_printed(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_study(tmp_path):
        pass
    client = client_of(uri)
    monkeypatch.setattr("mlflow.MlflowClient", lambda tracking_uri: client)
    # For a server, MLflow itself would ask this store for the URI and print it.
    monkeypatch.setattr("mlflow.tracking._tracking_service.client.RestStore", object)
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    line = export_to_mlflow(tmp_path, "http://me:secret@host/x")
    assert line == f"experiment {tmp_path.name} at http://host/x: 5 runs, 5 of them new"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"  # by default it retries for minutes
