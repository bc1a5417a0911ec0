"""The table of the cost of order."""

from concurrent.futures import ThreadPoolExecutor

from benchmarks.simulation.order_price import Case, compare_lags, rows, table_of


def test_both_searches_are_compared_at_equal_epochs_of_the_same_trials() -> None:
    case = Case(space="notebook", workers=8)
    (clock, free), (slow, _) = compare_lags(case, (1.0, 0.0), seed=1)
    assert free.epochs > case.trials
    assert 0.7 < clock.best <= table_of(case).best
    assert 0 < slow.utilization < clock.utilization <= 1
    assert clock.close <= clock.wall


def test_a_row_has_the_lag_and_a_claim() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = list(rows(Case(space="notebook", workers=2), (0.0, 2.0), 2, pool))  # type: ignore[arg-type]
    assert [row.split("|")[2].strip() for row, _ in found] == ["0", "2"]
    assert "at most 1.05 claimed: holds" in found[1][1]
