"""`sentune export STUDY --to mlflow`: a study as an MLflow experiment, each trial as a run.

A tag with the trial's number identifies a run, which is closed as the last step. Another export therefore adds new
runs, updates those of trials that have changed, and completes an interrupted export. A run with epochs that no longer
count is replaced.
"""

import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, UserError
from core.io.atomic import check_parent, file_mode, os_errors_as_user_errors
from core.io.cache import cache_key, locked
from core.io.text import error_summary, redact_uris
from tuning.backend.storage import node_root
from tuning.journal.records import TrialRecord, epoch_points, read_study, searched_values
from tuning.scheduling.study_config import study_id
from tuning.space.space import Space

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY, TRIAL = "sentune.study", "sentune.trial"
"""Names of the tags of an experiment and of a run."""
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""Status of a run by its trial's state; a trial that has not ended is RUNNING in MLflow, too."""
MAX_RUNS = 50_000
"""Maximum number of runs in one answer that MLflow allows."""
BATCH = 900
"""Number of figures in one request; MLflow allows 1,000 of all kinds together."""


def default_uri(folder: Path) -> str:
    """Return MLFLOW_TRACKING_URI, else a database next to the study in `folder`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute().parent / 'mlflow.db'}"


def export_to_mlflow(folder: Path, uri: str) -> str:
    """Copy the study in `folder` to the MLflow server or store at `uri`; another call adds new runs and epochs.

    Returns:
        A line about the result.

    Raises:
        UserError: There is no such study; MLflow is not installed, cannot be reached, or refuses.
        ConfigError: The experiment with the study's name contains something else.
    """
    read_study(folder)  # refuses a folder without a study
    if importlib.util.find_spec("mlflow") is None:
        raise UserError("--to mlflow needs more packages; run pip install mlflow-skinny")
    _check_database(uri)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # data are sent only to `uri`
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # two lines for each run, with the URI's password
    # With MLflow's default of 7, it retries for minutes if no server listens.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        # Two exports on this machine make no two runs of a trial.
        with locked(node_root(), f"mlflow-{cache_key({'study': folder.name, 'uri': uri})}"):
            attributes, records = read_study(folder)  # an older state would remove runs of an export in between
            searched = Space.from_dict(attributes["spec"]["space"]).searched_fields
            client = mlflow.MlflowClient(tracking_uri=uri)
            experiment = _experiment(client, folder.name, study_id(folder.name, attributes), uri)
            runs = _runs(client, experiment)
            for record in records:
                _export(client, experiment, runs.get(record.number), record, searched)
            for number, run in runs.items():
                if number >= len(records):  # a trial after an early end does not count
                    client.delete_run(run.info.run_id)
    except (MlflowException, SQLAlchemyError, ValueError) as error:  # ValueError: no valid host or port
        reason = redact_uris(f"cannot export to {uri}: {error_summary(error)}")
        raise UserError(f"{reason}; start or repair the store, or pass another --uri") from error
    except ImportError as error:  # the driver of a database
        raise UserError(redact_uris(f"cannot export to {uri}: {error_summary(error)}; install the package")) from error
    new = sum(record.number not in runs for record in records)
    count = f"{len(records)} run{'s' * (len(records) != 1)}"
    return f"experiment {folder.name} at {redact_uris(uri)}: {count}, {new} of them new"


def _check_database(uri: str) -> None:
    """Raise UserError unless SQLite can write a database in a file: MLflow would repeat the attempt for 100 s."""
    name = uri.removeprefix("sqlite:///").partition("?")[0]
    if not uri.startswith("sqlite:///") or name in ("", ":memory:"):
        return
    path = Path(name)
    check_parent(path)
    with os_errors_as_user_errors(path):
        if file_mode(path):
            path.open("r+b").close()


def _experiment(client: "MlflowClient", name: str, study: str, uri: str) -> str:
    """Return the id of the study's experiment; create it if there is none."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, tags={STUDY: study}))
    if found.tags.get(STUDY) != study or found.lifecycle_stage != "active":
        what = "is deleted" if found.lifecycle_stage != "active" else "contains something else than this study"
        raise ConfigError(
            f"experiment {name!r} at {redact_uris(uri)} {what}; rename or purge it there, or choose another --uri"
        )
    return str(found.experiment_id)


def _runs(client: "MlflowClient", experiment: str) -> "dict[int, Run]":
    """Return the existing runs by trial."""
    page = client.search_runs([experiment], max_results=MAX_RUNS)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], max_results=MAX_RUNS, page_token=page.token)
        runs += page
    return {int(run.data.tags[TRIAL]): run for run in runs if TRIAL in run.data.tags}


def _export(
    client: "MlflowClient", experiment: str, run: "Run | None", record: TrialRecord, searched: list[str]
) -> None:
    """Update one run, unless it is closed as its trial is."""
    from mlflow.entities import Metric, Param, RunTag

    curve = epoch_points(record)
    begin = record.started_at or 0.0
    end = _ms(curve[-1].time if curve else begin)
    if run is not None and (run.info.status, run.info.end_time) == (STATUS.get(record.state), end):
        return
    logged: dict[str, set[int]] = {}
    if run is not None:
        logged = {m: {each.step for each in client.get_metric_history(run.info.run_id, m)} for m in run.data.metrics}
        if max((step for steps in logged.values() for step in steps), default=0) > len(curve):
            client.delete_run(run.info.run_id)  # MLflow cannot remove the epochs that no longer count
            run, logged = None, {}
    if run is None:
        tags = {TRIAL: str(record.number), "origin": record.origin}
        run = client.create_run(experiment, start_time=_ms(begin), run_name=f"trial {record.number}", tags=tags)
    name = run.info.run_id
    client.log_batch(name, params=[Param(key, str(value)) for key, value in searched_values(record, searched).items()])
    new = [
        Metric(key, value, _ms(point.time), point.epoch)
        for point in curve
        for key, value in point.values.items()
        if point.epoch not in logged.get(key, ())
    ]
    for start in range(0, len(new), BATCH):
        client.log_batch(name, metrics=new[start : start + BATCH])
    if record.state in STATUS:
        tags = {"state": record.state, **({"error": record.error} if record.error else {})}
        client.log_batch(name, tags=[RunTag(key, value) for key, value in tags.items()])
        client.set_terminated(name, STATUS[record.state], end)
    elif run.info.status != "RUNNING":
        client.update_run(name, "RUNNING")  # a study with more trials continues trials that were closed


def _ms(seconds: float) -> int:
    """Return milliseconds, which MLflow uses."""
    return int(seconds * 1000)
