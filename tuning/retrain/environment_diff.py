"""Changes since the search in data, versions and machine, on which bit-identical results depend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from core.data.corpus import Corpus
from core.errors import DataError
from core.io.text import printable
from core.nn.environment import runtime_environment
from tuning.journal.records import Spec, TrialRecord

COMPARED_NAMES = {
    "cpu_capability": "CPU capability",
    "cpu": "CPU",
    "code": "training code",
    "sentune": "sentune's version",
    "vectors": "word vectors",
}
"""Clearer names of some dependencies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentChange:
    """One dependency that has changed."""

    name: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return printable(f"{self.name} {_short(self.was)}, now {_short(self.now)}", 400)


def environment_of(spec: Spec, records: Sequence[TrialRecord], record: TrialRecord) -> dict[str, Any]:
    """Return the recorded environment of a trial.

    A stopped trial has no such record. The study's spec has the common part, and the machine is assumed to be that of a
    complete trial.
    """
    recorded = record.environment or next((each.environment for each in records if each.environment), {})
    own = {name: value for name, value in recorded.items() if name != "before_resume"}
    versions = {name: spec["versions"][name] for name in ("torch", "sentune")}
    return {**{name: spec[name] for name in ("device", "threads", "precision")}, **versions, **own}


def environment_now(precision: str, threads: int, device: str) -> dict[str, Any]:
    """Return the environment of a training that starts now."""
    return with_version(runtime_environment(precision, threads, device))


def with_version(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment of a training by this version of sentune, without that of the epochs before a resume."""
    own = {name: value for name, value in environment.items() if name != "before_resume"}
    return {**own, "sentune": version("sentune")}


def environment_changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[EnvironmentChange]:
    """Return the changes of the values that are in both.

    A study without a complete trial has recorded only "cuda", which any GPU equals, and torch's version without the
    build (+cpu or +cu130), which any build equals.
    """
    return [
        EnvironmentChange(name=COMPARED_NAMES.get(name, name), was=was[name], now=now[name])
        for name in now
        if name in was
        and was[name] not in (now[name], now[name].partition("+")[0] if name == "torch" else None)
        and not (was[name] == "cuda" and now[name] != "cpu")
    ]


def data_changes(spec: Spec, inputs: Mapping[str, Any], corpus: Corpus) -> list[EnvironmentChange]:
    """Return the changed parts of the corpus: data, split, word vectors or tokenizer.

    Args:
        spec: Spec of the study.
        inputs: Inputs of the study's corpus (`Corpus.source["inputs"]`).
        corpus: The present corpus.
    """
    if corpus.fingerprint == spec["fingerprint"]:
        return []
    was, now = _leaves(inputs), _leaves(corpus.source["inputs"])
    found = [
        EnvironmentChange(name=name, was=was.get(name), now=now.get(name))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    # From equal inputs, another version of sentune has made other data: see FORMATS in core.io.cache.
    name = "data fingerprint by another version of sentune"
    return found or [EnvironmentChange(name=name, was=spec["fingerprint"], now=corpus.fingerprint)]


def require_same_data(spec: Spec, inputs: Mapping[str, Any], corpus: Corpus) -> None:
    """Check that the corpus is the study's; the arguments are those of `data_changes`.

    Raises:
        DataError: A part of the corpus has changed.
    """
    if changes := data_changes(spec, inputs, corpus):
        raise DataError(
            f"the data differ from the study's ({'; '.join(map(str, changes))}), so results cannot be compared; "
            "restore the study's data, or install the old versions if only these differ, or search again"
        )


def changes_since(
    attributes: Mapping[str, Any],
    records: Sequence[TrialRecord],
    record: TrialRecord,
    corpus: Corpus,
    now: Mapping[str, Any],
) -> list[EnvironmentChange]:
    """Return everything that has changed since a trial was trained, the data first.

    Args:
        attributes: User attributes of the study.
        records: All trials of the study.
        record: The trial.
        corpus: The data as they are now.
        now: Result of `environment_now` or `with_version`.
    """
    spec = attributes["spec"]
    data = data_changes(spec, attributes["inputs"], corpus)
    changes = environment_changes(environment_of(spec, records, record), now)
    earlier = (record.environment or {}).get("before_resume")
    while earlier:  # epochs before the trial was resumed elsewhere
        found = (replace(each, name=f"{each.name} of earlier epochs") for each in environment_changes(earlier, now))
        changes += [each for each in found if each not in changes]
        earlier = earlier.get("before_resume")
    return [*data, *changes]


def retraining_notes(record: TrialRecord, changes: Sequence[EnvironmentChange]) -> list[str]:
    """Return notes to print before the training: changes, and what cannot be compared."""
    lines = [f"changed since the search: {change}" for change in changes]
    if changes:
        lines.append("do not expect bit-identical results")
    if record.weights_sha256 is None:
        why = "because it was not trained to its end; only its epochs are compared"
        lines.append(f"trial {record.number} has no digest of its final weights {why}")
    return lines


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return each leaf of nested mappings: `{"data": {"sha256": "ab"}}` gives `{"data sha256": "ab"}`."""
    if not isinstance(value, Mapping):
        return {path: value}
    return {
        name: leaf
        for key, inner in value.items()
        for name, leaf in _leaves(inner, f"{path} {key}" if path else COMPARED_NAMES.get(key, str(key))).items()
    }


def _short(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)  # Parquet has the encoding ""
    return f"{text[:12]}..." if len(text) == 64 else text  # a digest
