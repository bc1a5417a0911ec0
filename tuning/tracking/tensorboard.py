"""`run --tensorboard`: STUDY/tensorboard has the content of the journal, in a file of events for each trial.

When a search starts or resumes, the folder is written again from the journal. Then each epoch is appended to its
trial's file. Therefore no epoch is in it twice, and the partial file of a killed search is replaced.
"""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.config import TrialConfig
from core.io.atomic import atomic_folder
from core.io.checked_folder import remove_partial_writes
from core.training.result import EpochResult
from tuning.journal.probabilities import trial_name
from tuning.journal.records import TrialRecord, epoch_points, searched_values, to_record
from tuning.journal.writer import StudyJournal
from tuning.scheduling.schedule import Callback

FOLDER = "tensorboard"


class TensorBoardCallback(Callback):
    """A callback that writes event files. Close it after the search."""

    def __init__(self, journal: StudyJournal, searched: Sequence[str], say: Callable[[str], None]) -> None:
        """Write the folder from the journal.

        Args:
            journal: The open journal.
            searched: TrialConfig fields that are shown as a trial's settings.
            say: Called once if the files can no longer be written; the search continues without them.

        Raises:
            UserError: The folder cannot be written.
        """
        self._journal = journal
        self._folder = journal.folder / FOLDER
        self._searched = searched
        self._say = say
        self._open: dict[int, _Run] = {}
        self._broken = False
        remove_partial_writes(journal.folder, FOLDER, older_than=0)  # of a killed search: this one has the study's lock
        with atomic_folder(self._folder) as fresh:
            for record in journal.records():
                run = _Run(fresh, record, searched)
                run.add(record)
                run.writer.close()

    def on_trial_start(self, number: int, config: TrialConfig) -> None:
        """Write the file of a trial that starts or resumes."""
        self._update(to_record(self._journal.trial(number)))

    def on_epoch_end(self, number: int, result: EpochResult) -> None:
        """Write an epoch, which is in the journal."""
        self._update(to_record(self._journal.trial(number)))

    def on_trial_pause(self, number: int) -> None:
        """Close the file of a trial that is paused. It is written again when the trial continues."""
        if run := self._open.pop(number, None):
            with contextlib.suppress(OSError):
                run.writer.close()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Write the end of a trial."""
        self._update(record)

    def close(self) -> None:
        """Close the files of interrupted trials, without an end."""
        for number in list(self._open):
            self.on_trial_pause(number)

    def _update(self, record: TrialRecord) -> None:
        """Write what the trial's file lacks."""
        if self._broken:
            return
        try:
            if record.number not in self._open:
                self._open[record.number] = _Run(self._folder, record, self._searched)
            self._open[record.number].add(record)
            if record.ended is not None:
                self._open.pop(record.number).writer.close()
        except OSError as error:
            self._broken = True
            self._say(f"cannot write {self._folder}: {error.strerror}; the search continues without event files")


class _Run:
    """The file of one trial."""

    def __init__(self, folder: Path, record: TrialRecord, searched: Sequence[str]) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.summary import hparams

        place = folder / f"trial-{trial_name(record.number)}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(exist_ok=True)  # it remains on NFS while TensorBoard has its file open
        self.writer = EventsWriter(str(place / "events"))
        self._written = 0
        # Without the first of the three, TensorBoard derives the settings and figures itself.
        _, self._start, self._end = hparams(searched_values(record, searched), {})
        self._write(self._start, 0, record.started_at or 0.0)

    def add(self, record: TrialRecord) -> None:
        """Write new epochs, and the end of the trial if it has ended."""
        from tensorboardX.proto.api_pb2 import Status
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
        from tensorboardX.proto.summary_pb2 import Summary

        curve = epoch_points(record)
        for point in curve[self._written :]:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            self._write(Summary(value=values), point.epoch, point.time)
        self._written = len(curve)
        if record.ended is not None:
            end = curve[-1].time if curve else record.started_at or 0.0
            if record.state == "FAIL":
                plugin = self._end.value[0].metadata.plugin_data
                content = HParamsPluginData.FromString(plugin.content)
                content.session_end_info.status = Status.Value("STATUS_FAILURE")
                plugin.content = content.SerializeToString()
            self._write(self._end, 0, end)
        self.writer.flush()

    def _write(self, summary: Any, step: int, time: float) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.writer.write_event(Event(summary=summary, step=step, wall_time=time))
