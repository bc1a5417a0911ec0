"""First trials (`--first-trials`): configurations that a study tries after the baseline and the space's `try_first`.

They are read from `portfolio.json`, which benchmarks.portfolio.build makes of configurations that were good on several
datasets, or from a file. A file is JSON or YAML: a list of configurations, or a mapping with such a list under
`settings`. A configuration has names and values of core.config.TrialConfig, and may be partial, as in `try_first`. In
the output of `sentune best --format json`, it is the mapping `params` of an entry; the entry's other keys are ignored.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from core.config import changed_settings
from core.errors import ConfigError
from core.io.checked_folder import canonical_json
from core.io.text import error_summary, quoted
from tuning.space.expressions import Value, parse_value
from tuning.space.initial_trials import fit_settings, initial_trials
from tuning.space.space import DEFAULTS, Space, validate

PORTFOLIO, RANDOM = "portfolio", "random"
MAX_SETTINGS = 8
"""Maximum number of trials from the portfolio: the sampler suggests half of the default number of trials. It does not
depend on `--trials`, so that a study with added trials has the same first ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstTrials:
    """Settings that a study tries before the sampler's suggestions."""

    source: str = RANDOM
    """Source: `portfolio`, `random` or the name of the file."""
    settings: tuple[Mapping[str, Any], ...] = ()
    """Complete settings, as those of tuning.space.initial_trials; empty for `random`."""
    left_out: int = 0
    """Number of a file's entries outside the space; 0 for the portfolio, whose entries need not fit."""

    def to_dict(self) -> dict[str, Any] | None:
        """Return the part of the study's spec; None for `random`."""
        if self.source == RANDOM:
            return None
        digest = hashlib.sha256(canonical_json([changed_settings(each) for each in self.settings])).hexdigest()
        return {"source": self.source, "trials": len(self.settings), "sha256": digest}


def first_trials(source: str, space: Space, baseline: bool = True) -> FirstTrials:
    """Return the first trials of a study in a space.

    Numbers are clipped to the space's ranges, and a setting that `--set` fixes has its value. An entry is left out if
    the space lacks one of its choices, or itself fixes a setting at another value. Equal entries appear once, and none
    repeats one of `initial_trials`.

    Args:
        source: `portfolio`, `random` or a path.
        space: The search space.
        baseline: Whether the study has the baseline.

    Raises:
        ConfigError: The file cannot be used, or all its entries are outside the space.
    """
    if source == RANDOM:
        return FirstTrials()
    entries = portfolio() if source == PORTFOLIO else _read_file(source)
    fitted = [settings for entry in entries if (settings := fit_settings(space, entry)) is not None]
    own = initial_trials(space, baseline)
    new = tuple(each for at, each in enumerate(fitted) if each not in own and each not in fitted[:at])
    if source == PORTFOLIO:
        return FirstTrials(source=PORTFOLIO, settings=new[:MAX_SETTINGS])
    if not fitted:
        raise ConfigError(
            f"--first-trials {source}: all of its {len(entries)} entries are outside the space {space.name!r}; "
            "change their choices, or choose another --space"
        )
    name = Path(source).name
    shown = f"./{name}" if name in (PORTFOLIO, RANDOM) else name
    return FirstTrials(source=shown, settings=new, left_out=len(entries) - len(fitted))


def portfolio() -> list[dict[str, Value]]:
    """Return the portfolio's entries in order."""
    content = json.loads(files("tuning.space").joinpath("portfolio.json").read_text())
    entries: list[dict[str, Value]] = content["settings"]
    return entries


def _read_file(path: str) -> list[dict[str, Value]]:
    """Read the entries of a file.

    Raises:
        ConfigError: The file has mistakes; the message has all of them with their entries.
    """
    import yaml

    from tuning.space.load import read_text
    from tuning.space.yaml_parser import refuse_aliases

    place = f"--first-trials {path}"

    class Loader(yaml.BaseLoader):  # it makes nothing but lists, mappings and strings
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if twice := [name for name, count in names.items() if count > 1]:
                line = node.start_mark.line + 1
                raise ConfigError(f"{place}, line {line}: {quoted(twice[0])} occurs twice; remove one")
            return super().construct_mapping(node, deep)

    try:
        text = read_text(path, "file of first trials", f"{PORTFOLIO}, {RANDOM}")
        text = text.replace("\t", " ")  # YAML refuses tabs, with which JSON may be indented
        refuse_aliases(text, place)
        content = yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{place}: neither JSON nor YAML ({error_summary(error, 200)}); fix the file") from error
    entries = content.get("settings") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{place}: write a list of configurations, or a mapping with such a list under `settings`")
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        params = entry.get("params") if isinstance(entry, dict) else None
        failed = isinstance(entry, dict) and entry.get("state") == "FAIL"
        if params == {} or failed:  # a row of `sentune best` that is no trial, or a failed one
            continue
        values, wrong = _read_entry(params if isinstance(params, dict) else entry)
        found.append(values)
        problems += [f"{place}, entry {number}: {text}" for text in wrong]
    if problems:
        known = f"; choose from {', '.join(DEFAULTS)}"
        before, hint, after = "; ".join(problems).partition(known)
        raise ConfigError(before + hint + after.replace(known, ""))
    if not found:
        raise ConfigError(f"{place}: no entry has a configuration; pass the output of a study with trials")
    return found


def _read_entry(entry: Any) -> tuple[dict[str, Value], list[str]]:
    """Return the values of an entry, and its problems."""
    if not isinstance(entry, dict) or not entry:
        return {}, ["it must be a mapping such as {hidden_dim: 128, pooling: max}"]
    values: dict[str, Value] = {}
    problems = []
    for name, text in entry.items():
        if not isinstance(text, str):
            problems.append(f"{quoted(str(name))} must have one plain value, not a list or a mapping")
            continue
        try:
            values[name] = parse_value(text)
        except ConfigError as error:
            problems.append(f"{quoted(name)}: {error}")
    return values, problems + [text for _, text in validate((), {}, [values])]
