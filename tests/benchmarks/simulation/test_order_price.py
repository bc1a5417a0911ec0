"""The table of the cost of order."""

from concurrent.futures import ThreadPoolExecutor

from benchmarks.simulation.order_price import Case, rows


def test_a_row_has_the_lag_and_a_claim() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = list(rows(Case(space="notebook", workers=2), (0.0, 2.0), 2, pool))  # type: ignore[arg-type]
    assert [row.split("|")[2].strip() for row, _ in found] == ["0", "2"]
    assert "at most 1.05 claimed: holds" in found[1][1]
