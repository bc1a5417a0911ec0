"""benchmarks.quality.both_splits: the table."""

from benchmarks.quality.both_splits import table


def test_the_differences_are_taken_in_pairs_for_each_set_and_for_all() -> None:
    accuracies = {"trec": ((0.80, 0.82), (0.90, 0.92)), "amazon": ((0.70, 0.69), (0.72, 0.73))}
    pairs = [(name, *pair) for name, found in accuracies.items() for pair in found]
    results = [{"set": name, "train": alone, "both": both} for name, alone, both in pairs]

    _, _, *rows = table(results)

    assert rows[0] == "| trec | 2 | 85.00 | 87.00 | +2.00, +2.00 to +2.00 |"
    assert rows[1].startswith("| amazon | 2 | 71.00 | 71.00 | +0.00, -")
    assert rows[2].startswith("| all | 4 | 78.00 | 79.00 | +1.00, ")
