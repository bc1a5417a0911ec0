"""The verb `retrain`: train a trial again, compare it with the search's record, measure it and save the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import TrialConfig
from core.corpus import Corpus
from core.epoch import EpochResult
from core.errors import ConfigError, UserError
from core.load import load_corpus
from core.saved_model import check_target
from tuning.dependencies import data_changes, environment_changes, environment_now, environment_of
from tuning.finished import sweep
from tuning.ledger import open_ledger
from tuning.records import Spec, TrialRecord, attributes_of, read_study
from tuning.rerun import moved
from tuning.results import ranking, settings_text
from tuning.training_again import Again, retrain_on_both, retrain_seeds
from tuning.verdict import Verdict
