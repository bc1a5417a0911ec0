"""The words of all texts and names: plain English and the terms of the field."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.modules import MODULES, ROOT, tree_of

FORMER_WORDS = {
    r"told": "reported",
    r"mend(s|ed|ing)?": "fix",
    r"spells?": "segment",
    r"slopes?": "gradient",
    r"(go|goes|going|went) on": "continue, resume",
    r"anew": "again",
    r"so many": "how many, a number",
    r"nobody|no one|whoever|somebody": "a named subject",
    r"(?<!\d )bits": "bit-identical",  # a number of bits is a size: "16 bits per value"
    r"stands?|stood": "is, has, applies",
    r"bears?": "allow",
    r"beside": "besides, next to",
    r"the person|a person": "the user",
    r"(come|comes|coming|came) (to|out)": "result",
    r"by itself": "alone, separately",
    r"lest|thereby|nought|forsaken": "a common word",
    r"where that is|but for": "if, except",
    r"honest": "corrected, unbiased",
    r"ours": "sentune's",
    r"upkeep|tally|ledger": "the glossary's term",
}
"""Former words -> plain English or a term of the glossary. A hyphen makes another word: `bit-identical`."""
FORMER = re.compile(rf"(?<![\w-])({'|'.join(FORMER_WORDS)})(?![\w-])")


def prose() -> Iterator[tuple[str, str]]:
    """Each text for users and developers with its place: strings, docstrings, comments, templates and pages.

    Of the tests, the names of functions and classes, and the docstrings.
    """
    for path in MODULES.values():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line.partition("#")[2]
    for path in ROOT.glob("benchmarks/**/*.py"):
        yield f"{path.relative_to(ROOT)}:1", ast.get_docstring(tree_of(path)) or ""
    for path in ROOT.glob("tests/**/*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.name.replace("_", " ")
            elif (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value.value
    for path in ROOT.glob("tuning/**/*.html"):
        yield str(path.relative_to(ROOT)), path.read_text()
    pages = ("*.md", "docs/**/*.md", "results/*.md", "results/reference/*.md")
    for path in sorted(path for pattern in pages for path in ROOT.glob(pattern)):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


@pytest.mark.slow
def test_no_former_word_comes_back() -> None:
    found = [f"{place}: {match[0]}" for place, text in prose() for match in FORMER.finditer(text.lower())]
    assert found == [], f"write plain English: {FORMER_WORDS}"


@pytest.mark.parametrize("word", ["told", "It goes on.", "the same bits", "16 bits go on", "beside it", "came to be"])
def test_a_former_word_is_recognised(word: str) -> None:
    assert FORMER.search(word.lower())


@pytest.mark.parametrize("word", ["bit-identical", "16 bits per value", "besides", "stand-in", "standard", "forest"])
def test_other_words_are_allowed(word: str) -> None:
    assert not FORMER.search(word)


PRIVATE_TERMS = {
    *("slopes", "told", "mend", "spell", "upkeep", "halt", "ledger", "honest", "judgement", "tally", "joined"),
    *("keeping", "reach", "wanted", "sealed", "known"),
}
"""Former terms of this project that have a standard name."""


def names_in(tree: ast.AST) -> set[str]:
    """Classes, functions and attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.slow
def test_no_name_is_one_of_the_former_private_terms() -> None:
    for module, path in MODULES.items():
        names = {*module.split("."), *names_in(tree_of(path))}
        words = {name: set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())) for name in names}
        assert {name for name, parts in words.items() if parts & PRIVATE_TERMS} == set(), module
