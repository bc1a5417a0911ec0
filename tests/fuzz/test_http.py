"""Schemathesis asks the server what its OpenAPI schema allows, and what it does not allow."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from core.inference.predictor import load_model
from tests.support.models import mixture, saved
from tuning.serving.server import make_app

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

OPERATIONS = {("get", "/"), ("get", "/health"), ("get", "/metrics"), ("post", "/predict")}


def ask(folder: Path, examples: int) -> set[tuple[str, str]]:
    """Send requests of either kind to each operation, and check each answer against the schema.

    Checks of Schemathesis: no status 5xx, only documented statuses and content types, bodies of the documented shape,
    no accepted request that the schema forbids, and no refused one that it allows.

    Returns:
        The operations.
    """
    import schemathesis

    app = make_app(load_model(saved(folder, *mixture())), "m", rate=10**9, hosts=("testserver",))
    refused = {"negative_data_rejection": {"expected-statuses": ["4xx"]}}  # by default without 413, "too large"
    config = schemathesis.Config.from_dict({"checks": refused})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        seen.add((operation.method, operation.path))
        modes = schemathesis.GenerationMode
        for mode in (modes.POSITIVE, modes.NEGATIVE) if operation.body else (modes.POSITIVE,):

            @settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                case.call_and_validate()

            check()
    return seen


@pytest.mark.slow
def test_the_server_answers_as_its_schema_says(tmp_path: Path) -> None:
    assert ask(tmp_path, examples=20) == OPERATIONS


@pytest.mark.chaos
def test_the_server_answers_thousands_of_requests_as_its_schema_says(tmp_path: Path) -> None:
    assert ask(tmp_path, examples=3000) == OPERATIONS
