"""`confirm` without Ray: its runs, their cost, the work of a worker, and the recorded results."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config import TrialConfig
from core.data.corpus import TEST, TRAIN, VAL, Corpus
from core.data.load import load_corpus
from core.errors import DataError, TrainingError, UserError
from core.metrics import METRICS
from core.plain_baseline import evaluate_plain, fit_plain_baseline
from core.training.evaluate import evaluate
from core.training.loop import train
from core.training.refit import refit
from tests.support.assessed_studies import FULL_SPEC, attributes, trial, write_study
from tests.support.corpora import in_folds, tiny_corpus
from tests.support.journals import SPEC as JOURNAL_SPEC
from tests.support.journals import two_trials
from tests.support.local_backend import NoRay
from tests.support.trial_records import record
from tuning.analysis.assessment import assess
from tuning.backend.interrupt import InterruptHandler
from tuning.backend.worker import failure_result
from tuning.confirm.command import confirm_study, estimate_cost
from tuning.confirm.execution import execute, fit_run, record_result, remove_checkpoints, sentence_figures, train_run
from tuning.confirm.runs import ConfirmRun, candidates, plan_runs
from tuning.journal.predictions import unpack_labels
from tuning.journal.probabilities import file_name
from tuning.journal.records import evaluations_on_test, study_attributes
from tuning.journal.writer import StudyJournal, open_study
from tuning.resources.machine import TrialResources
from tuning.retrain.training import study_corpus
from tuning.study_options import ConfirmOptions

SPEC = {"seed": 42, "metric": "accuracy", "data": {"split": "80/10/10"}}
CONFIG = TrialConfig(hidden_dim=4, epochs=2, batch_size=16)
RUN = ConfirmRun(trial=1, seed=5, config=CONFIG.to_dict(), split="80/10/10")


pytestmark = pytest.mark.usefixtures("no_default_cache")


def test_every_setting_gets_the_same_fresh_seeds_and_the_winner_and_the_baseline_each_fold() -> None:
    records = [record(0, 0.5), record(1, 0.9, origin="sampler"), record(2, 0.8, origin="sampler")]
    runs = plan_runs(SPEC, candidates(records, 2), 3, 4)
    trained = [run for run in runs if run.trial is not None]
    own, folds = trained[:9], trained[9:]
    seeds = {run.trial: [each.seed for each in own if each.trial == run.trial] for run in own}
    assert seeds[0] == seeds[1] == seeds[2]
    assert len({*seeds[0], 42}) == 4
    assert all(run.config["seed"] == run.seed for run in trained)
    assert [run.fold for run in runs if run.trial is None] == [None, 0, 1, 2, 3]
    assert [(run.trial, run.fold, run.split) for run in folds] == [
        (trial, fold, f"folds:4 fold {fold}") for fold in range(4) for trial in (1, 0)
    ]
    assert {run.seed for run in folds} == {seeds[1][0]}


def test_fewer_seeds_are_the_first_of_more() -> None:
    """So that more seeds add to what is there."""
    chosen = candidates([record(0, 0.5)], 1)
    few, many = (plan_runs(SPEC, chosen, count, None) for count in (2, 5))
    assert [run.key for run in few] == [run.key for run in many][:3]


def test_the_cost_is_what_the_searchs_epochs_took_for_the_epochs_of_a_whole_run() -> None:
    settings = TrialConfig(epochs=8).to_dict()
    records = [
        record(0, 0.5, config=settings),
        record(1, 0.6, 0.7, config=settings, origin="sampler"),
    ]  # 1.5 s an epoch
    runs = plan_runs(SPEC, candidates(records, 2), 50, None)
    assert estimate_cost(records, runs, runs, 2, 1) == (
        "101 runs; the remaining 101 take about 10 minutes, 2 in parallel\n"
        "(each run trains 8 epochs, as in the study, and uses the best one by validation)"
    )
    assert estimate_cost(records, runs, runs[91:], 1, 1).startswith(
        "101 runs, 91 of them done; the remaining 10 take about 2 minutes, one after the other\n"
    )
    short = [dataclasses.replace(each, config={**each.config, "epochs": 1}) for each in runs[-1:]]
    assert "\n(each run trains 1 epoch, as in the study, and" in estimate_cost(records, runs, short, 1, 1)
    only_plain = estimate_cost(records, runs, runs[:1], 1, 1)
    assert only_plain.endswith("100 of them done; the remaining 1 takes about a minute or less, one after the other")
    runs = plan_runs(SPEC, candidates(records, 2), 2, 30)
    over_folds = [run for run in runs if run.fold is not None]
    assert "about 12 minutes" in estimate_cost(records, runs, over_folds, 1, 1)
    assert "about 2 minutes" in estimate_cost(records, runs, over_folds, 1, 5)  # the search trained five models at once


def test_the_cost_of_a_run_that_patience_ends_is_that_of_the_epochs_of_its_trial() -> None:
    records = [record(0, 0.5, 0.5, config=TrialConfig(epochs=8, patience=1).to_dict())]
    runs = plan_runs(SPEC, candidates(records, 1), 50, None)
    text = estimate_cost(records, runs, runs, 1, 1)
    assert "take about 2 minutes" in text  # 50 times two epochs of 1.5 s, and not eight
    assert text.endswith("\n(each run trains at most 8 epochs, as in the study, and uses the best one by validation)")


def test_a_plain_run_measures_the_metric_on_both_splits_and_keeps_which_sentences_were_right() -> None:
    corpus = tiny_corpus(n_sentences=300)
    found = fit_run("macro_f1", corpus)
    labels = corpus.labels[corpus.indices(TEST)]
    baseline = fit_plain_baseline(corpus, corpus.indices(TRAIN))
    expected = evaluate_plain(baseline, corpus, TEST, METRICS["macro_f1"])
    assert found["test_macro_f1"] == expected.value
    assert found["test_accuracy"] == np.mean(expected.predictions == labels)
    assert (found["val_sentences"], found["test_sentences"]) == (len(corpus.indices(VAL)), len(labels))
    np.testing.assert_array_equal(unpack_labels(found["correct"], "it"), expected.correct)
    most = np.bincount(corpus.labels[corpus.indices(TRAIN)]).argmax()
    constant = METRICS["macro_f1"].value(labels, np.full(len(labels), most), None, 2)
    assert found["majority_test"] == constant
    assert fit_run("accuracy", in_folds(corpus, 3))["val_sentences"] == len(in_folds(corpus, 3).validation())
    unlabelled = dataclasses.replace(corpus, tokens=corpus.tokens[:5])
    assert "error" in fit_run("accuracy", unlabelled)


def test_a_run_measures_the_best_epoch_and_keeps_which_sentences_were_right(tmp_path: Path) -> None:
    corpus = tiny_corpus(n_sentences=300)
    found = train_run(CONFIG.to_dict(), corpus, TrialResources(), str(tmp_path / "c"))
    result = train(CONFIG, corpus)
    assert found["val_accuracy"] == result.best_val_accuracy
    assert found["val_sentences"] == (corpus.split == 1).sum()
    correct = unpack_labels(found["correct"], "it")
    assert len(correct) == found["test_sentences"] == (corpus.split == 2).sum()
    assert correct.mean() == pytest.approx(found["test_accuracy"])
    loss = train_run(CONFIG.replace(metric="log_loss").to_dict(), corpus, TrialResources(), str(tmp_path / "l"))
    measured = loss["val_log_loss"], loss["test_log_loss"]
    assert measured == pytest.approx((loss["val_loss"], loss["test_loss"]), abs=1e-3)
    assert np.mean(loss["pseudo_values"]) == pytest.approx(loss["test_log_loss"], abs=1e-5)


def test_the_figures_of_sentences_are_those_of_their_labels() -> None:
    """Without the only sentence of its class, the metric is the recall of the other one."""
    labels, predictions = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    found = sentence_figures(METRICS["balanced_accuracy"], labels, predictions, np.zeros((4, 1), dtype=np.int16))
    assert found["class_sentences"] == [3, 1]
    assert found["pseudo_values"] == pytest.approx([13 / 12, 13 / 12, 1 / 3, 4 / 3], abs=1e-6)
    assert unpack_labels(found["correct"], "it").tolist() == [1, 1, 0, 1]


@pytest.mark.slow
def test_with_folds_a_model_that_is_trained_on_all_of_them_is_tested(tmp_path: Path) -> None:
    corpus = in_folds(tiny_corpus(n_sentences=300), 3)
    found = train_run(CONFIG.to_dict(), corpus, TrialResources(), str(tmp_path / "c"))
    whole = refit(CONFIG, corpus, train(CONFIG, corpus).epochs)
    assert found["test_loss"] == evaluate(CONFIG, whole.weights, corpus, TEST).loss


def test_where_the_metric_has_no_value_on_test_the_validation_sentences_are_kept(tmp_path: Path) -> None:
    """ROC AUC needs each class. The results are then compared on validation."""
    corpus = tiny_corpus(n_sentences=300)
    corpus = dataclasses.replace(corpus, split=np.where((corpus.split == 2) & (corpus.labels == 1), 0, corpus.split))
    config = CONFIG.replace(metric="roc_auc")
    for found in (train_run(config.to_dict(), corpus, TrialResources(), str(tmp_path)), fit_run("roc_auc", corpus)):
        assert ("val_roc_auc" in found, "test_roc_auc" in found) == (True, False)
        assert len(unpack_labels(found["correct"], "it")) == found["val_sentences"]
        assert len(found["pseudo_values"]) == sum(found["class_sentences"]) == found["val_sentences"]


def test_without_a_test_split_the_validation_sentences_are_kept(tmp_path: Path) -> None:
    corpus = tiny_corpus()
    corpus = dataclasses.replace(corpus, split=np.minimum(corpus.split, 1))
    found = train_run(CONFIG.to_dict(), corpus, TrialResources(), str(tmp_path / "c"))
    assert "test_accuracy" not in found
    assert unpack_labels(found["correct"], "it").mean() == pytest.approx(found["val_accuracy"])


def test_a_run_that_cannot_be_trained_is_an_error_and_what_the_user_can_fix_is_another_one(tmp_path: Path) -> None:
    explosive = CONFIG.replace(optimizer="adamw", learning_rate=9e15, weight_decay=9e15)
    found = train_run(explosive.to_dict(), tiny_corpus(), TrialResources(), str(tmp_path / "c"))
    assert found["error"].startswith("TrainingError: ")
    (tmp_path / "file").touch()
    failed = train_run(CONFIG.to_dict(), tiny_corpus(), TrialResources(), str(tmp_path / "file" / "c"))
    assert "a part of the path is a file" in failed["user_error"]


def test_an_outcome_is_kept_with_its_reading_and_its_checkpoints_go(tmp_path: Path) -> None:
    two_trials(tmp_path)
    with open_study(tmp_path, JOURNAL_SPEC) as journal:
        place = tmp_path / "checkpoints" / "confirm-1-5"
        outcome = train_run(RUN.config, tiny_corpus(), TrialResources(), str(place))
        assert place.is_dir()
        record_result(journal, RUN, outcome)
        assert not place.exists()
        unfinished = tmp_path / "checkpoints" / "confirm-1-77"
        for folder in (place, unfinished):  # the first as by an orphan of a killed process
            folder.mkdir()
        remove_checkpoints(journal)
        assert (place.exists(), unfinished.exists()) == (False, True)
    kept = study_attributes(tmp_path)
    assert kept["confirm:1:5"]["test_accuracy"] == outcome["test_accuracy"]
    assert (kept["confirm:1:5"]["trial"], kept["confirm:1:5"]["seed"]) == (1, 5)
    (reading,) = evaluations_on_test(kept)
    assert (reading["verb"], reading["trial"], reading["seed"], reading["on"]) == ("confirm", 1, 5, "train")


def test_the_data_of_the_study_and_of_each_fold_are_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train_run", "fit_run"):
        monkeypatch.setattr(f"tuning.confirm.execution.{name}", lambda *_: {"error": "TrainingError: NaN"})
    two_trials(tmp_path)
    runs = plan_runs(SPEC, candidates([record(0, 0.5), record(1, 0.9, origin="sampler")], 2), 2, 3)
    loaded: list[int | None] = []

    def corpus_of(run: ConfirmRun) -> Corpus:
        loaded.append(run.fold)
        return tiny_corpus()

    with open_study(tmp_path, JOURNAL_SPEC) as journal:
        interrupt = InterruptHandler(say=print)
        execute(runs, corpus_of, journal, TrialResources(), NoRay().session, 2, print, interrupt)
    assert loaded == [None, 0, 1, 2]


def record_failures(journal: StudyJournal, runs: Sequence[ConfirmRun]) -> None:
    for run in runs:
        record_result(journal, run, {"error": "TrainingError: NaN"})


def confirm(monkeypatch: pytest.MonkeyPatch, study: Path, top: int, opened: object) -> list[ConfirmRun]:
    """Run the command without Ray on tiny data, with another `open_study`; return the runs, all of which fail."""
    trained: list[ConfirmRun] = []

    def execute(left: Sequence[ConfirmRun], corpus_of: object, journal: StudyJournal, *_: object) -> None:
        trained.extend(left)
        record_failures(journal, left)

    replaced = {
        "open_study": opened,
        "execute": execute,
        "BackgroundRay": NoRay,
        "study_corpus": lambda *_: tiny_corpus(),
        "require_same_data": lambda *_: None,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(f"tuning.confirm.command.{name}", value)
    assert confirm_study(ConfirmOptions(study=str(study), top=top, seeds=2)) is not None
    return trained


@pytest.mark.parametrize("finished", [2, 5])
def test_runs_that_another_process_has_just_finished_are_not_trained_again(
    finished: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It records them and ends after this one has read the journal, and before this one locks it."""
    trials = [trial(0, range(80)), trial(1, range(40))]
    write_study(tmp_path, trials, attributes(spec=FULL_SPEC, inputs={}))
    runs = plan_runs(FULL_SPEC, candidates(trials, 2), 2, None)
    assert len(runs) == 5

    @contextmanager
    def opened(folder: Path, spec: Mapping[str, Any]) -> Iterator[StudyJournal]:
        with open_study(folder, spec) as journal:
            record_failures(journal, runs[:finished])
            yield journal

    assert confirm(monkeypatch, tmp_path, 2, opened) == runs[finished:]


def test_a_trial_that_another_process_has_just_trained_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends after this command has read the journal, and before this command locks the study."""
    write_study(tmp_path, [trial(0, range(80)), trial(1, range(40))], attributes(spec=FULL_SPEC, inputs={}))

    @contextmanager
    def opened(folder: Path, spec: Mapping[str, Any]) -> Iterator[StudyJournal]:
        write_study(folder, [trial(2, range(10))], attributes(spec=spec))
        with open_study(folder, spec) as journal:
            yield journal

    assert {run.trial for run in confirm(monkeypatch, tmp_path, 1, opened)} == {None, 0, 2}
    assert "changed since the search: sentune's version 0, now " in capsys.readouterr().out


def split_by_column(folder: Path, validation: str = "split") -> tuple[Path, dict[str, Any]]:
    """A study of a file whose label column is found by its content, and whose split column looks like labels too."""
    rows = [f"a film of number {i},{'train' if i % 4 else 'val'},{1000 + i % 2}" for i in range(24)]
    (folder / "t.csv").write_text("\n".join(["sentence,side,y", *rows]))
    data = {"dataset": str(folder / "t.csv"), "vectors": "none", "split": "column", "split_column": "side"}
    data |= {"seed": 42, "validation": validation}
    corpus = load_corpus(**data, cache_dir=folder / "cache")
    spec = {**FULL_SPEC, "data": data, "fingerprint": corpus.fingerprint}
    write_study(folder / "s", [trial(0, range(80))], attributes(spec=spec, inputs=corpus.source["inputs"]))
    return folder / "t.csv", corpus.source["inputs"]["data"]


def over_folds(
    monkeypatch: pytest.MonkeyPatch, folder: Path, use: Callable[[Callable[[ConfirmRun], Corpus]], None], folds: int = 3
) -> None:
    """Confirm the study over folds without Ray; `use` gets the function that loads the data of a run."""

    def execute(
        left: Sequence[ConfirmRun], corpus_of: Callable[[ConfirmRun], Corpus], journal: StudyJournal, *_: object
    ) -> None:
        use(corpus_of)
        record_failures(journal, left)

    monkeypatch.setattr("tuning.confirm.command.execute", execute)
    monkeypatch.setattr("tuning.confirm.command.BackgroundRay", NoRay)
    confirm_study(ConfirmOptions(study=str(folder / "s"), seeds=2, folds=folds, cache_dir=folder / "cache"))


def test_a_note_about_the_data_is_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each fold reads the file again."""
    split_by_column(tmp_path)

    def load(*arguments: Any, **changes: Any) -> Corpus:
        arguments[3]("a note")
        return study_corpus(*arguments, **changes)

    def use(corpus_of: Callable[[ConfirmRun], Corpus]) -> None:
        corpus_of(FOLD)

    monkeypatch.setattr("tuning.confirm.command.study_corpus", load)
    over_folds(monkeypatch, tmp_path, use)
    assert capsys.readouterr().out.count("a note\n") == 1


def test_more_folds_than_a_class_has_sentences_are_refused_before_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_by_column(tmp_path)
    with pytest.raises(DataError, match="use at most 12 folds"):
        over_folds(monkeypatch, tmp_path, lambda _: pytest.fail("a training began"), folds=30)


FOLD = ConfirmRun(trial=None, seed=None, config={}, split="folds:3 fold 2", fold=2, folds=3)


@pytest.mark.parametrize("validation", ["split", "folds:3"])
def test_a_fold_has_the_columns_of_the_study_and_a_split_of_its_own(
    validation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, inputs = split_by_column(tmp_path, validation)
    found: list[Corpus] = []
    over_folds(monkeypatch, tmp_path, lambda corpus_of: found.append(corpus_of(FOLD)))
    assert found[0].classes == ("1000", "1001")
    assert found[0].source["inputs"]["data"] == inputs
    given: dict[str, Any] = {"vectors": "none", "split_column": "side", "cache_dir": tmp_path / "cache"}
    assert found[0].folds is None
    np.testing.assert_array_equal(found[0].split, load_corpus(path, split="folds:3", fold=2, **given).split)


def test_data_that_change_before_a_fold_is_loaded_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folds are loaded one after the other, hours apart."""
    path, _ = split_by_column(tmp_path)

    def change(corpus_of: Callable[[ConfirmRun], Corpus]) -> None:
        path.write_text(path.read_text().replace("film", "book"))
        corpus_of(FOLD)

    with pytest.raises(DataError, match=r"t\.csv has changed since the command began; restore it, and run"):
        over_folds(monkeypatch, tmp_path, change)


def test_settings_that_cannot_be_trained_are_kept_and_other_failures_are_tried_again(tmp_path: Path) -> None:
    two_trials(tmp_path)
    with open_study(tmp_path, JOURNAL_SPEC) as journal:
        record_result(journal, RUN, {"died": "its worker died"})
        record_result(journal, RUN, failure_result(MemoryError("16 GB")))
        record_result(journal, RUN, {"error": "the trial needs more than its share of the GPU", "oom": True})
        assert RUN.key not in journal.attributes
        record_result(journal, RUN, failure_result(TrainingError("NaN")))
        assert journal.attributes[RUN.key]["error"] == "TrainingError: NaN"
        assert journal.test_evaluations == []


def test_a_result_that_cannot_be_recorded_keeps_its_checkpoints_and_counts_its_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_trials(tmp_path)
    fold = dataclasses.replace(RUN, split="folds:3 fold 0", fold=0, folds=3)
    with open_study(tmp_path, JOURNAL_SPEC) as journal:
        place, write = journal.checkpoint_dir(file_name(fold.key)), journal.set_study_attr

        def full(name: str, value: Any) -> None:
            if name == fold.key:
                raise UserError("the disk is full")
            write(name, value)

        outcome = train_run(fold.config, tiny_corpus(), TrialResources(), str(place))
        monkeypatch.setattr(journal, "set_study_attr", full)
        with pytest.raises(UserError, match="the disk is full"):
            record_result(journal, fold, outcome)
        assert place.is_dir()
        assert len(journal.test_evaluations) == 1
    assert (tmp_path / "probabilities" / f"{file_name(fold.key)}.npz").is_file()


def test_a_run_books_the_cores_and_the_gpu_of_a_trial(tmp_path: Path) -> None:
    booked: list[dict[str, Any]] = []

    class Ray(NoRay):
        def remote(self, **booking: Any) -> Callable[[Callable[..., Any]], Any]:
            booked.append(booking)
            return super().remote(**booking)

    two_trials(tmp_path)
    on_gpu = TrialResources(cpus_per_trial=2, gpus_per_trial=1.0)
    with open_study(tmp_path, JOURNAL_SPEC) as journal:
        execute([], lambda run: tiny_corpus(), journal, on_gpu, Ray().session, 1, print, InterruptHandler(say=print))
    assert [(each["num_cpus"], each.get("num_gpus")) for each in booked] == [(2, 1.0), (1, None)]


def test_a_study_that_has_not_changed_is_assessed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many trials, that takes seconds."""
    write_study(tmp_path, [trial(0, range(80)), trial(1, range(40))], attributes(spec=FULL_SPEC, inputs={}))
    calls: list[int] = []

    def counted(*given: Any, **options: Any) -> Any:
        calls.append(1)
        return assess(*given, **options)

    monkeypatch.setattr("tuning.confirm.command.assess", counted)
    confirm(monkeypatch, tmp_path, 1, open_study)
    assert calls == [1]
