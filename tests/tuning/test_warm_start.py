"""tuning.warm_start: the trials of another study, copied once."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from core.errors import ConfigError, CorruptionError, UserError
from tests.support.epochs import epoch
from tests.support.study_configs import outcomes, plan
from tuning.journal.folder import JOURNAL
from tuning.journal.records import read_study, study_attributes
from tuning.journal.writer import open_study
from tuning.scheduling.study_config import StudyConfig
from tuning.space.initial_trials import fit_settings
from tuning.space.load import load_space
from tuning.space.portfolio import FirstTrials
from tuning.space.space import STUDY_FIELDS, Space
from tuning.warm_start import add_warm_start


def a_study(folder: Path, count: int = 6, falling: bool = False, **changes: Any) -> None:
    """Trials of which every third is stopped, each eighth has failed, and the last one still runs.

    If `falling`, each epoch is worse than the one before.
    """
    the_plan = plan(seed=1, space=changes.pop("space", load_space("quick")))
    spec = {"fingerprint": "f", "space": the_plan.space.to_dict(), "epochs": 4}
    spec |= {"metric": "accuracy", "epoch_sentences": None, "embedding_dim": 50} | changes
    with open_study(folder, spec) as journal:
        for number, trial in enumerate(outcomes(the_plan, count)):
            attrs = trial.user_attrs
            journal.add_trial(trial.params, trial.distributions, attrs["config"], attrs["origin"])
            for at, accuracy in trial.intermediate_values.items():
                journal.record_epoch(number, epoch(at, accuracy / at if falling else accuracy))
            if number < count - 1:
                result = None if trial.state.name == "PRUNED" else {}
                journal.finish_trial(number, trial.state, result, 4)


def warm(
    tmp_path: Path, the_plan: StudyConfig | None = None, fingerprint: str = "f"
) -> tuple[StudyConfig, dict[str, Any]]:
    own = study_attributes(tmp_path / "new")
    return add_warm_start(the_plan or plan(), own, tmp_path / "old", fingerprint, 50)


def begin(folder: Path, the_plan: StudyConfig, kept: dict[str, Any]) -> None:
    """Create the study with its copy of the other one's trials."""
    space = the_plan.space.to_dict()
    with open_study(folder, {"fingerprint": "f", "space": space, "warm_start": the_plan.warm_start}, kept):
        pass


def test_finished_trials_are_knowledge_to_the_last_bit(tmp_path: Path) -> None:
    """Except the baseline's, whose learning rate is outside the space, so that the sampler cannot use it."""
    a_study(tmp_path / "old")
    the_plan, kept = warm(tmp_path)
    theirs = outcomes(plan(seed=1), 6)[1:5]
    assert [(t.params, t.state, t.value) for t in the_plan.prior_trials] == [
        (t.params, t.state, t.value) for t in theirs
    ]
    assert the_plan.prior_trials[1].intermediate_values == {max(theirs[1].intermediate_values): theirs[1].value}
    assert the_plan.warm_start is not None
    assert {"study": "old", "trials": 4}.items() <= the_plan.warm_start.items()
    assert len(kept["prior_trials"]) == 4


def test_a_stopped_trial_that_became_worse_shows_its_best_score_like_the_own_trials(tmp_path: Path) -> None:
    a_study(tmp_path / "old", falling=True)
    stopped = warm(tmp_path)[0].prior_trials[1]
    (best, *_, last) = [accuracy / at for at, accuracy in outcomes(plan(seed=1), 6)[2].intermediate_values.items()]
    assert last < best
    assert list(stopped.intermediate_values.values()) == [stopped.value] == [best]


def test_first_trials_that_the_other_study_tried_are_left_out(tmp_path: Path) -> None:
    """Its trial 1 is known; a setting that it has not tried remains."""
    a_study(tmp_path / "old")
    tried = outcomes(plan(seed=1), 6)[1].user_attrs["config"]
    settings = fit_settings(load_space("quick"), {n: v for n, v in tried.items() if n not in STUDY_FIELDS})
    assert settings is not None
    first = FirstTrials(source="portfolio", settings=(settings, {**settings, "hidden_dim": 33}))
    the_plan, _ = warm(tmp_path, plan(first_trials=first))
    assert [each["hidden_dim"] for each in the_plan.first_trials.settings] == [33]


def test_a_study_that_has_begun_keeps_its_own_copy(tmp_path: Path) -> None:
    """The other one may change or be removed."""
    a_study(tmp_path / "old")
    before, kept = warm(tmp_path)
    begin(tmp_path / "new", before, kept)
    assert list(study_attributes(tmp_path / "new")) == ["prior_trials", "spec"]
    shutil.rmtree(tmp_path / "old")
    after, _ = warm(tmp_path)
    assert after.warm_start == before.warm_start
    assert outcomes(after, 8)[7].params == outcomes(before, 8)[7].params
    assert outcomes(dataclasses.replace(after, prior_trials=()), 8)[7].params != outcomes(before, 8)[7].params


@pytest.mark.parametrize("space", [load_space("notebook"), load_space("quick", ["hidden_dim=int(32,64)"])])
def test_another_space_for_a_study_that_has_begun_is_left_to_the_comparison_of_the_specs(
    tmp_path: Path, space: Space
) -> None:
    """The copied trials lie outside that space."""
    a_study(tmp_path / "old")
    before, kept = warm(tmp_path)
    begin(tmp_path / "new", before, kept)
    after, _ = warm(tmp_path, plan(space=space))
    assert (after.space, after.warm_start, after.prior_trials) == (space, before.warm_start, ())


def test_a_space_in_another_order_is_the_same_space(tmp_path: Path) -> None:
    one, two = "clip_norm=[0.5,1.0]", "class_weight=[none,balanced]"
    a_study(tmp_path / "old", space=load_space("quick", [one, two]))
    _, kept = warm(tmp_path, plan(space=load_space("quick", [two, one])))
    assert kept["prior_trials"]


@pytest.mark.parametrize("damage", [[], None, [{"params": {}}]])
def test_a_damaged_copy_is_refused_in_one_line(tmp_path: Path, damage: Any) -> None:
    a_study(tmp_path / "old")
    before, _ = warm(tmp_path)
    with open_study(tmp_path / "new", {"warm_start": before.warm_start}, {"prior_trials": damage}):
        pass
    with pytest.raises(CorruptionError, match="of --warm-start old are damaged; start a new study"):
        warm(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("the_plan", "fingerprint", "reason"),
    [
        (plan(), "g", "it has other data"),
        (plan(space=load_space("notebook")), "f", "it searches another space, quick"),
        (plan(space=load_space("quick", ["clip_norm=none"])), "f", "it searches other values of the space quick"),
        (plan(epochs=9), "f", "its trials have 4 epochs, this study's 9"),
        (plan(epoch_sentences=2000), "f", "its epochs are a pass long, this study's 2,000 sentences"),
        (plan(sampler="qmc"), "f", "--sampler qmc does not learn from trials"),
        (plan(epochs=9), "g", "it has other data; its trials have 4 epochs"),
    ],
)
def test_what_does_not_match_is_refused_with_the_reason(
    tmp_path: Path, the_plan: StudyConfig, fingerprint: str, reason: str
) -> None:
    a_study(tmp_path / "old")
    hint = f", or begin with its best trials: `.* best {tmp_path}/old --top 5 --format json > best.json`, then --first"
    with pytest.raises(ConfigError, match=f"--warm-start old cannot be used: {reason}.*; leave it out{hint}"):
        warm(tmp_path, the_plan, fingerprint)


@pytest.mark.slow
def test_cmaes_needs_ten_finished_trials(tmp_path: Path) -> None:
    """One has failed, the last one runs, and the learning rate of the baseline is outside the space."""
    a_study(tmp_path / "old", 12)
    needed = "--sampler cmaes needs 10 finished trials, and can use 9 of its trials; leave it out"
    with pytest.raises(ConfigError, match=f"^--warm-start old cannot be used: {needed}$"):
        warm(tmp_path, plan(sampler="cmaes"))
    shutil.rmtree(tmp_path / "old")
    a_study(tmp_path / "old", 13)
    assert len(warm(tmp_path, plan(sampler="cmaes"))[0].prior_trials) == 10


def test_a_study_of_another_metric_is_refused(tmp_path: Path) -> None:
    a_study(tmp_path / "old", metric="mcc")
    with pytest.raises(ConfigError, match="it optimises mcc, this study accuracy; leave it out"):
        warm(tmp_path)


def test_a_study_of_random_vectors_of_another_width_is_refused(tmp_path: Path) -> None:
    """Their data have one fingerprint."""
    a_study(tmp_path / "old", embedding_dim=300)
    with pytest.raises(ConfigError, match="its word vectors have 300 dimensions, this study's 50; leave it out"):
        warm(tmp_path)


def test_a_paused_trial_counts_as_stopped(tmp_path: Path) -> None:
    """As in a study that was interrupted."""
    a_study(tmp_path / "old")
    with open_study(tmp_path / "old", study_attributes(tmp_path / "old")["spec"]) as journal:
        journal.set_trial_attr(5, "segments", [{"since": 1.0, "until": 2.0, "paused": 2}])
    paused = warm(tmp_path)[0].prior_trials[-1]
    assert (paused.state, paused.params) == (TrialState.PRUNED, outcomes(plan(seed=1), 6)[5].params)


def test_a_study_without_finished_trials_knows_nothing(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"fingerprint": "f", "space": plan().space.to_dict(), "epochs": 4, "metric": "accuracy"}
    spec |= {"epoch_sentences": None, "embedding_dim": 50}
    with open_study(tmp_path / "old", spec):
        pass
    with pytest.raises(ConfigError, match="--warm-start old cannot be used: none of its trials is finished"):
        warm(tmp_path)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_study_of_whose_trials_the_sampler_can_use_none_is_refused(tmp_path: Path, sampler: str) -> None:
    """The baseline, whose learning rate is outside the space, is finished; trial 1 still runs."""
    a_study(tmp_path / "old", 2)
    said = r"the sampler can use none of its finished trials \(1\): each has a value outside a range; leave it out"
    with pytest.raises(ConfigError, match=f"^--warm-start old cannot be used: {said}$"):
        warm(tmp_path, plan(sampler=sampler))


def test_a_finished_trial_whose_epochs_a_damaged_journal_has_lost_is_left_out(tmp_path: Path) -> None:
    a_study(tmp_path / "old")
    journal = tmp_path / "old" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if not (b'"epoch:' in line and b'"trial_id":1,' in line)))
    assert read_study(tmp_path / "old")[1][1].best is None
    assert len(warm(tmp_path)[0].prior_trials) == 3


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study 'old' in"):
        warm(tmp_path)
