"""Search spaces by name, from a YAML file, and with `--set` on top.

    extends: default              # optional: a preset to start from
    settings:
      hidden_dim: int(64, 256, log)
      pooling: [last, max]        # or choice(last, max)
      clip_norm: 1.0              # a plain value fixes a setting
      n_layers: int(1, 3)
      lstm_dropout:               # searched only where the condition holds
        range: float(0, 0.5)
        when: n_layers > 1
      learning_rate_adam:         # a range of its own for one case: `field` is the setting that it fills
        field: learning_rate
        range: log(3e-4, 1e-2)
        when: optimizer == adam
    try_first:                    # optional: settings to try before the search; missing ones get usual values
      - {hidden_dim: 200, optimizer: adam}

Settings have the names of core.config.TrialConfig. Expressions and conditions are those of tuning.space.expressions.
The file is read as nodes, so that no YAML tag creates an object, and quotes have no effect.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.config import FULL_NAMES
from core.errors import ConfigError
from core.io.atomic import expand_user, open_regular
from core.io.text import quoted
from tuning.space.builder import SettingEntry, build, merge
from tuning.space.expressions import parse_expression
from tuning.space.initial_trials import override_entry
from tuning.space.presets import PRESETS, RANDOM_VECTORS
from tuning.space.space import Space
from tuning.space.yaml_parser import SpaceParser

MAX_FILE_BYTES = 100_000


def load_space(name_or_path: str, overrides: Sequence[str] = (), *, random_vectors: bool = False) -> Space:
    """Read a space.

    Args:
        name_or_path: A preset, or the path of a YAML file.
        overrides: Values of `--set`, such as `setting=expression`; they override the file.
        random_vectors: Whether the word vectors are random ones, which RANDOM_VECTORS is for. It applies to `quick`,
            `default` and files that extend them, except to settings that the file or an override names.

    Raises:
        ConfigError: The space has mistakes; the message has all of them with file and line or `--set`.
    """
    name, place, text = _text_of(name_or_path)
    written = SpaceParser(place, text)
    preset = written.extends and SpaceParser(f"preset {written.extends}", PRESETS[written.extends])
    entries = merge(merge({}, preset.entries) if preset else {}, written.entries)
    problems = written.problems
    layer = [entry for text in overrides for entry in _override(text, problems)]
    if random_vectors and (written.extends or name_or_path) in ("quick", "default"):
        given = {entry.name for entry in (*layer, *(written.entries if written.extends else ()))}
        texts = [f"{name}={value}" for name, value in RANDOM_VECTORS.items() if name not in given]
        layer += [entry for text in texts for entry in _override(text, problems)]
    names = [entry.name for entry in layer]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    problems += [f"--set {quoted(name)} is given twice; pass it once" for name in twice]
    if problems:
        raise ConfigError("; ".join(problems))
    space = build(name, entries, written.tries, {entry.name for entry in written.entries})
    if layer:
        changed = build(name, merge(entries, layer), [], set(names))
        changed = dataclasses.replace(changed, overridden=frozenset(names))
        tries = tuple(override_entry(entry, space, changed) for entry in space.try_first)
        space = dataclasses.replace(changed, try_first=tries)
    if not space.dimensions:
        raise ConfigError(f"{place}: nothing is searched; write a range for at least one setting")
    return space


def _override(text: str, problems: list[str]) -> Iterator[SettingEntry]:
    name, equals, expression = text.partition("=")
    name, place = name.strip(), f"--set {quoted(text)}"
    if not equals or not name or not expression.strip():
        problems.append(f"{place}: write setting=value, for example --set 'learning_rate=log(1e-4, 1e-2)'")
        return
    try:
        yield SettingEntry(name=FULL_NAMES.get(name, name), content=parse_expression(expression), place=place)
    except ConfigError as error:
        problems.append(f"{place}: {error}")


def _text_of(name_or_path: str) -> tuple[str, str, str]:
    """Return (name, place, YAML text) of a space."""
    if name_or_path in PRESETS:
        return name_or_path, f"preset {name_or_path}", PRESETS[name_or_path]
    text = read_text(name_or_path, "search space", f"one of {', '.join(sorted(PRESETS))}")
    return Path(name_or_path).stem, name_or_path, text


def read_text(path: str, what: str, names: str) -> str:
    """Read a small text file.

    Args:
        path: Path of the file.
        what: Noun for the file in messages.
        names: Names that the user can pass instead of a path, for messages.

    Raises:
        ConfigError: The file is missing, too large, not UTF-8, or cannot be read.
    """
    file = expand_user(path)
    try:
        with open_regular(file) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; pass a smaller {what}")
        return content.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"there is no {what} {path!r}; pass {names}, or the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 text") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot read the {what} {quoted(path, None)}: {reason}; pass {names}, or a YAML file"
        ) from error
