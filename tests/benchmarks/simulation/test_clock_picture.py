"""The picture's clock makes the decisions of the study."""

from dataclasses import replace

from benchmarks.simulation.clock_picture import config_of, decisions
from tests.support.corpora import tiny_corpus
from tests.support.epochs import epoch
from tests.support.trial_records import record
from tuning.journal.records import TrialRecord
from tuning.resources.machine import TrialResources
from tuning.scheduling.asha import Asha
from tuning.scheduling.study_config import StudyConfig, study_spec
from tuning.scheduling.virtual_cost import CorpusShape
from tuning.space.load import load_space

STUDY = StudyConfig(
    space=load_space("quick"),
    n_trials=3,
    epochs=2,
    epoch_sentences=100,
    parallelism=1,
    seed=1,
    stopping=Asha(grace=1, reduction=2),
    lag=0.0,
    baseline=False,
    patience=2,
    metric="macro_f1",
    precision="bf16",
)


def scored(number: int, score: float) -> TrialRecord:
    """A trial whose accuracy is low if its score is high."""
    return record(number, epochs=tuple(replace(epoch(at, 1 - score), score=score) for at in (1, 2)))


def test_the_configuration_is_read_back_from_the_spec() -> None:
    assert config_of(study_spec(STUDY, tiny_corpus(), {"dataset": "tiny"}, TrialResources()), 3) == STUDY


def test_the_trial_with_the_best_score_is_promoted() -> None:
    jobs = decisions(
        STUDY, CorpusShape.of(tiny_corpus()), [scored(at, score) for at, score in enumerate((0.1, 0.9, 0.2))]
    )
    assert [(job.trial, job.last) for job in jobs] == [(0, 1), (1, 1), (1, 2), (2, 1)]
