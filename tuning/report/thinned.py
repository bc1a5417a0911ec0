"""Which trials of a very large study the page shows one by one: no browser bears ten thousand in every plot."""

import dataclasses

from tuning.report.facts import Facts

MOST = 1000
"""Trials; at 1,000 in 18 settings the page has 4 MB, and all of it grows with their number."""
BEST = MOST // 2
"""Of them the first by rank."""


def thinned(facts: Facts) -> Facts:
    """The same study with at most about MOST of its trials to show, the same ones each time.

    They are the best, the notebook's, each that was better than all before it (so that the line of the best so far
    stays what it was), and of the others every so many by number.
    """
    if len(facts.rows) <= MOST:
        return facts
    kept = {row.trial for at, row in enumerate(facts.rows) if at < BEST or row.notebook} | _leaders(facts)
    rest = [record.number for record in facts.records if record.number not in kept]
    room = max(0, MOST - len(kept))
    kept |= {rest[at * len(rest) // room] for at in range(room)}
    rows = [row for row in facts.rows if row.trial in kept]
    return dataclasses.replace(facts, rows=rows, kept=frozenset(kept))


def left_out(few: Facts) -> str | None:
    """What the page has to say of it; None where nothing is left out."""
    if few.kept is None:
        return None
    return (
        f"Of {len(few.records):,} trials the table and the plots show {len(few.kept):,}: the best {BEST:,}, the "
        "notebook's, each that was better than all before it, and of the others every so many by number. All else is "
        "of all trials; sentune best --state all --format csv has every one."
    )


def _leaders(facts: Facts) -> set[int]:
    """Trials that were better than all before them, by number."""
    leaders, highest = set(), -1.0
    for row in sorted((row for row, _ in facts.ranked), key=lambda row: row.trial):
        if row.val_accuracy is not None and row.val_accuracy > highest:
            leaders.add(row.trial)
            highest = row.val_accuracy
    return leaders
