"""Reads event files back with TensorBoard itself."""

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tuning.journal.records import TrialRecord


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each figure."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def hparams(run: Path) -> tuple[dict[str, Any], int | None]:
    """A run's settings, and how it ended (2 failed, 1 not, None open)."""
    events = EventAccumulator(str(run))
    events.Reload()
    settings: dict[str, Any] = {}
    status = None
    for content in events.summary_metadata.values():
        if content.plugin_data.plugin_name != "hparams":
            continue
        data = HParamsPluginData.FromString(content.plugin_data.content)
        if data.HasField("session_start_info"):
            for name, value in data.session_start_info.hparams.items():
                settings[name] = getattr(value, value.WhichOneof("kind"))
        if data.HasField("session_end_info"):
            status = data.session_end_info.status
    return settings, status


def accuracies(record: TrialRecord) -> list[tuple[int, float]]:
    """What the journal says, to compare with."""
    return [(epoch.epoch, epoch.val_accuracy) for epoch in record.epochs]
