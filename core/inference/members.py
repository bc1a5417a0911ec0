"""Members of a model: LSTMs and the plain baseline, each with its share. A single model has one member.

A member is stored as an entry in config.json and as tensors in a file of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.config import TrialConfig
from core.errors import ConfigError
from core.inference.model_schema import PLAIN_TENSORS, check_tensors
from core.plain_baseline import PlainBaseline

if TYPE_CHECKING:
    from torch import Tensor

MEMBER_FILES = ("model.safetensors", "trial-[0-9]*.safetensors", "plain-baseline.safetensors")
"""Names and patterns of the members' files: of a single LSTM, of a trial in an ensemble, of the plain baseline."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class LstmMember:
    """A trained LSTM and its share in the model's probabilities."""

    name: str
    """`model` for a single LSTM, `trial-N` in an ensemble."""
    weight: float
    """Share in the mean of the members' probabilities."""
    config: TrialConfig
    weights: Mapping[str, "Tensor"]
    """Weights by the names of SentenceClassifier."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PlainMember:
    """A fitted plain baseline and its share in the model's probabilities."""

    name: str = "plain-baseline"
    weight: float
    """Share in the mean of the members' probabilities."""
    baseline: PlainBaseline


Member = LstmMember | PlainMember


def file_of(member: Member) -> str:
    """Return the name of a member's file."""
    return f"{member.name}.safetensors"


def entry_of(member: Member) -> dict[str, Any]:
    """Return a member's entry in config.json."""
    kind = "lstm" if isinstance(member, LstmMember) else "plain"
    config = {"config": member.config.to_dict()} if isinstance(member, LstmMember) else {}
    return {"name": member.name, "kind": kind, "file": file_of(member), "weight": member.weight, **config}


def tensors_of(member: Member) -> dict[str, "Tensor"]:
    """Return the tensors in a member's file."""
    import torch

    if isinstance(member, LstmMember):
        return {name: value.detach().cpu() for name, value in member.weights.items()}
    return {name: torch.from_numpy(getattr(member.baseline, name)) for name in PLAIN_TENSORS}


def member_of(entry: Mapping[str, Any], tensors: Mapping[str, "Tensor"]) -> Member:
    """Return the member of an entry and its tensors.

    Raises:
        ConfigError: Another version of sentune wrote the entry.
        CorruptionError: The tensors have other types, or contain values that are no numbers.
    """
    name, weight = entry["name"], entry["weight"]
    if entry["kind"] == "lstm":
        check_tensors(entry["file"], tensors)
        return LstmMember(name=name, weight=weight, config=TrialConfig.from_dict(entry["config"]), weights=tensors)
    if entry["kind"] == "plain":
        check_tensors(entry["file"], tensors, PLAIN_TENSORS)
        baseline = PlainBaseline(**{name: value.numpy() for name, value in tensors.items()})
        return PlainMember(name=name, weight=weight, baseline=baseline)
    raise ConfigError(f"unknown kind of member {entry['kind']!r}; it must be lstm or plain")
