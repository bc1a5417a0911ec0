"""The plain baseline of a study, fitted in a separate process at low priority while the trials train.

It is a separate process because the fit limits the threads of numerical libraries, and because running out of memory
there must not end the search.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.data.load import load_corpus
from core.errors import DataError
from core.io.text import error_summary, printable
from core.metrics import METRICS
from core.plain_baseline import train_part, validate_plain
from core.training.result import EpochResult
from tuning.console import worker_niceness
from tuning.journal.predictions import pack_labels
from tuning.journal.probabilities import pack_log_odds, save_probabilities
from tuning.journal.records import PLAIN_BASELINE
from tuning.journal.writer import StudyJournal
from tuning.scheduling.schedule import Callback

PROGRAM = """
import json, os, sys
task = json.loads(sys.argv[1])
os.nice(task.pop("niceness"))
sys.path[:] = task.pop("path")
from tuning.console import end_with_parent
end_with_parent(task.pop("parent"))
from tuning.plain_fit import fit_and_predict
print(json.dumps(fit_and_predict(**task)))
"""
"""The process uses this process's import path; `python -m`, and `-c` without `-P`, would prefer modules in the user's
folder.

Its niceness is above that of Ray's workers. Otherwise it would delay the first trials on two cores by a
second."""


class PlainFit(Callback):
    """A context manager that fits the study's plain baseline in the background, unless the study has it.

    The result is written to the journal after the next epoch of a trial.
    """

    def __init__(
        self,
        journal: StudyJournal,
        data: Mapping[str, Any],
        fingerprint: str,
        metric: str,
        cache_dir: Path | None,
        say: Callable[[str], None],
    ) -> None:
        """Start nothing yet.

        Args:
            journal: The open journal.
            data: Arguments of load_corpus.
            fingerprint: Fingerprint of the study's corpus.
            metric: Name of the study's metric.
            cache_dir: Folder of the data cache.
            say: Called with a line if the baseline cannot be fitted.
        """
        place = None if cache_dir is None else str(cache_dir)
        self._task = {
            "path": [each for each in sys.path if isinstance(each, str)],
            "data": dict(data),
            "fingerprint": fingerprint,
            "metric": metric,
            "cache_dir": place,
            "parent": os.getpid(),
            "niceness": worker_niceness() + 4,
        }
        self._journal = journal
        self._say = say
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe would be full before its process has ended
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PlainFit":
        """Start the process."""
        if PLAIN_BASELINE in self._journal.attributes:
            return self
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, json.dumps(self._task)],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches only the search
            )
        except OSError as error:
            self._report(error_summary(error))
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process if the search was interrupted before its result was written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """Write the result if it exists."""
        if self._process is not None and self._process.poll() is not None:
            self.finish()

    def finish(self, seconds: float | None = None) -> None:
        """Wait for the result, at most this time, and write it once; a failure is reported and ends no study."""
        if self._process is None:
            return
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._report("its fit has not ended")
            return
        self._process = None
        self._output.seek(0)
        try:
            found = json.loads(self._output.read())
        except ValueError:
            found = {"error": f"its process ended with code {code}"}
        if "error" in found:
            self._report(found["error"])
        else:
            save_probabilities(self._journal.folder, PLAIN_BASELINE, found.pop("packed_log_odds"))
            self._journal.set_study_attr(PLAIN_BASELINE, found)

    def _report(self, error: str) -> None:
        self._say(f"no plain baseline: {printable(error)}; run the same command again to retry")


def fit_and_predict(data: Mapping[str, Any], fingerprint: str, metric: str, cache_dir: str | None) -> dict[str, Any]:
    """Return the packed results on the validation split, or `error` with the reason if there are none.

    The arguments are those of `PlainFit`; the corpus must have this fingerprint.
    """
    try:
        corpus = load_corpus(**data, cache_dir=cache_dir)
        if corpus.fingerprint != fingerprint:
            raise DataError("the data have changed since the command began")
        found, part = validate_plain(corpus, METRICS[metric]), train_part(corpus)
    except Exception as error:  # a failure must not affect the search
        return {"error": error_summary(error)}
    value = {} if math.isnan(found.value) else {"val_metric": found.value}
    return {
        **value,
        **part,
        "val_predictions": pack_labels(found.predictions),
        "packed_log_odds": pack_log_odds(found.log_odds),
    }
