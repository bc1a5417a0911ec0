"""What an audit found that makes a number from this corpus doubtful, in a line each: shown before anything else."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.data.duplicates import PAIRS

LOW_COVERAGE = 0.9
"""Of train's tokens: with fewer, the word vectors know too little of the language to be a fair start."""


def cautions(found: Mapping[str, Any]) -> list[str]:
    """Texts that stand in two splits, texts under several labels, word vectors that know few of the words.

    Args:
        found: from core.data.audit.audit.

    Returns:
        The most misleading first; empty where there is nothing to warn of. No text of the data is in them.
    """
    return list(_warning_lines(found))


def _warning_lines(found: Mapping[str, Any]) -> Iterator[str]:
    across = found["duplicates_across"]
    shared = {pair: across[pair]["near"] for pair in PAIRS if across[pair]["near"]}
    if shared:
        counts = ", ".join(f"{pair} {count:,}" for pair, count in shared.items())
        yield f"sentences that stand in two splits: {counts}"
    if torn := found["conflicts"]["texts"]:
        yield f"texts under more than one label: {torn:,}"
    coverage = found["coverage"]
    if coverage is not None and coverage["by_token"] < LOW_COVERAGE:
        yield f"only {coverage['by_token']:.1%} of train's tokens have a word vector"
