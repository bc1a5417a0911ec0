"""benchmarks.quality.default_search: the table."""

from benchmarks.quality.default_search import table


def test_the_table_compares_two_versions_on_the_datasets_that_both_have() -> None:
    def result(label: str, name: str, seed: int, test: float) -> dict[str, object]:
        return {"label": label, "set": name, "seed": seed, "test": test, "seconds": 60.0}

    before = [result("before", "trec", 1, 0.86), result("before", "trec", 2, 0.88), result("before", "nyt", 1, 0.6)]
    after = [result("after", "trec", 2, 0.90), result("after", "trec", 1, 0.89)]
    after[1]["seconds"] = 90.0
    before.append(result("before", "trec", 3, 0.99))  # the other version lacks this seed
    del before[1]["seconds"]  # a result of another machine

    *_, row, mean = table([*before, *after])

    assert row == "| trec | 2 | 87.00, 60 | 89.50, 75 | +2.50 |"
    assert mean == "| mean | | | | +2.50 +- 0.50 |"
