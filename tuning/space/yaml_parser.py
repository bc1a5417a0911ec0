"""Parse the YAML text of a search space into entries with their lines. It reads nodes, so no tag creates an object."""

from collections.abc import Iterator

import yaml

from core.errors import ConfigError
from core.io.text import error_summary, printable, quoted
from tuning.space.builder import Content, SettingEntry
from tuning.space.expressions import Condition, Value, choice, parse_expression, parse_value, parse_when
from tuning.space.presets import PRESETS


def refuse_aliases(text: str, place: str) -> None:
    """Check that a YAML text has no alias: a short text with many of them has a huge content.

    Raises:
        ConfigError: It has an alias; the message names its line in `place`.
        yaml.YAMLError, ValueError, OverflowError: The text is not YAML.
    """
    for token in yaml.scan(text, Loader=yaml.SafeLoader) if "*" in text else ():
        if isinstance(token, yaml.AliasToken):
            where, name = f"{place}:{token.start_mark.line + 1}", printable(token.value, 40)
            raise ConfigError(f"{where}: *{name} is an alias; write its content instead")


class SpaceParser:
    """Content of one text. Each mistake in its form is recorded with its line and skipped: all are named together."""

    def __init__(self, place: str, text: str) -> None:
        self.place = place
        self._found: list[tuple[int, str]] = []
        self.extends: str | None = None
        self.entries: list[SettingEntry] = []
        self.tries: list[tuple[str, dict[str, Value]]] = []
        parts = self._mapping(self._compose(text), "a search space", ("extends", "settings", "try_first"))
        if "extends" in parts:
            self.extends = self._scalar(parts["extends"], "extends")
            if self.extends is not None and self.extends not in PRESETS:
                known = ", ".join(sorted(PRESETS))
                self._note(parts["extends"], f"extends must be one of {known}, got {self.extends!r}")
                self.extends = None
        for name, node in self._mapping(parts.get("settings"), "settings").items():
            self.entries += self._entry(name, node)
        tried = parts.get("try_first")
        if tried is not None and not isinstance(tried, yaml.SequenceNode):
            self._note(tried, "try_first must be a list, each line starting with `- `")
            tried = None
        for node in tried.value if tried else ():
            values = self._mapping(node, "an entry of try_first")
            self.tries.append((self._line(node), {name: self._value(value) for name, value in values.items()}))
        if not self._found and not self.entries and self.extends is None:
            self._found.append((0, f"{self.place}: nothing is searched; write `settings:` with at least one range"))
        self.problems = [message for _, message in sorted(self._found, key=lambda found: found[0])]
        """Problems, in the order of the text."""

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            refuse_aliases(text, self.place)
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except ConfigError as error:
            self._found.append((0, str(error)))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{self.place}:{mark.line + 1}" if mark else self.place
            self._found.append((0, f"{place}: this is not YAML: {error.problem or error.context}"))
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            self._found.append((0, f"{self.place}: this is not YAML: {error_summary(error)}"))
        return None

    def _entry(self, name: str, node: yaml.Node) -> Iterator[SettingEntry]:
        place = self._line(node)
        if not isinstance(node, yaml.MappingNode):
            yield SettingEntry(name=name, content=self._content(node), place=place)
        else:
            parts = self._mapping(node, name, ("range", "when", "field"))
            if "range" not in parts:
                self._note(node, f"{name} needs `range:`, for example range: float(0, 0.5)")
                return
            yield SettingEntry(
                name=name,
                content=self._content(parts["range"]),
                place=place,
                field=self._scalar(parts["field"], "field") if "field" in parts else None,
                when=self._when(parts["when"]) if "when" in parts else None,
            )

    def _content(self, node: yaml.Node) -> Content:
        text = ""
        try:
            if isinstance(node, yaml.SequenceNode):
                return choice([self._value(each) for each in node.value])
            text = self._scalar(node, "a setting") or ""
            return parse_expression(text)
        except ConfigError as error:
            self._note(node, f"{error}{_quotes_hint(text)}")
            return None

    def _when(self, node: yaml.Node) -> tuple[Condition, ...]:
        """Return the clauses of one condition, or of a list of conditions that must all hold."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Condition] = []
        for each in nodes:
            text = self._scalar(each, "when")
            try:
                found += parse_when(text) if text is not None else ()
            except ConfigError as error:
                self._note(each, f"{error}{_quotes_hint(text or '')}")
        return tuple(found)

    def _value(self, node: yaml.Node) -> Value:
        try:
            return parse_value(self._scalar(node, "a value") or "")
        except ConfigError as error:
            self._note(node, str(error))
            return None

    def _scalar(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self._note(node, f"{what} must be plain text here, not a list or a mapping")
        return None

    def _mapping(self, node: yaml.Node | None, what: str, keys: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
        """Return the entries of a mapping; keys other than `keys`, if given, are recorded as problems and left out."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._note(node, f"{what} must be a mapping, written as `name: value`")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._scalar(key, "a name")
            if name is None:
                continue
            if keys and name not in keys:
                self._note(key, f"{quoted(name)} is unknown here; {what} can contain {', '.join(keys)}")
            elif name in found:
                self._note(key, f"{quoted(name)} occurs twice; remove one")
            else:
                found[name] = value
        return found

    def _line(self, node: yaml.Node) -> str:
        return f"{self.place}:{node.start_mark.line + 1}"

    def _note(self, node: yaml.Node, message: str) -> None:
        self._found.append((node.start_mark.line, f"{self._line(node)}: {message}"))


def _quotes_hint(text: str) -> str:
    """Return the end of a message about text such as `int(1`: YAML cuts {range: int(1, 3)} at the comma."""
    return "; inside { } or [ ] put it in quotes" if text.count("(") > text.count(")") else ""
