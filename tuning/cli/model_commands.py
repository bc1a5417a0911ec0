"""The verbs that use a saved model: predict, export, serve. They need no study, no data and no Ray."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ConfigError
from tuning.console import print_note
from tuning.run_options import Encoding, Results, study_folder

if TYPE_CHECKING:
    from core.inference.predictor import Predictor


class PredictFormat(StrEnum):
    """How `predict` prints."""

    text = "text"
    json = "json"


class ExportFormat(StrEnum):
    """What `export` writes."""

    onnx = "onnx"


class Tracker(StrEnum):
    """Where `export` copies a study."""

    mlflow = "mlflow"


Folder = Annotated[Path, typer.Argument(help="a folder that retrain wrote", metavar="MODEL")]


def predict(
    model: Folder,
    texts: Annotated[list[str] | None, typer.Argument(help="sentences", metavar="TEXT ...")] = None,
    file: Annotated[str | None, typer.Option(help="one sentence a line; - is standard input")] = None,
    text_column: Annotated[str | None, typer.Option(help="--file is a table: label this column, write CSV")] = None,
    encoding: Encoding = None,
    format: Annotated[PredictFormat, typer.Option(help="of the output; json: an object a line")] = PredictFormat.text,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="those of every class")] = False,
    out: Annotated[Path | None, typer.Option(help="a file to write, in place of standard output")] = None,
) -> None:
    """Label sentences. A line each: label, probability and text, separated by tabs."""
    from tuning.serving.predict import PredictRequest, predict_texts

    request = PredictRequest(
        texts=tuple(texts or ()),
        file=file,
        text_column=text_column,
        encoding=encoding,
        json=format == PredictFormat.json,
        probabilities=probabilities,
        out=out,
    )
    predict_texts(request, lambda: _load(model), print_note)


def export(
    what: Annotated[str, typer.Argument(help="a folder that retrain wrote; with --to a study", metavar="MODEL|STUDY")],
    out: Annotated[Path | None, typer.Option(help="the folder to write")] = None,
    format: Annotated[ExportFormat, typer.Option(help="of the model")] = ExportFormat.onnx,
    to: Annotated[Tracker | None, typer.Option(help="copy a study there; once more adds what is new")] = None,
    uri: Annotated[
        str | None,
        typer.Option(help="with --to: server or store; default: MLFLOW_TRACKING_URI, else mlflow.db beside the study"),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write MODEL for use without torch, or copy STUDY to a tracker."""
    if to is not None:
        if out is not None:
            raise ConfigError("--out goes with a model, and --to with a study: --uri names the store")
        from tuning.tracking.mlflow import default_uri, export_to_mlflow

        folder = study_folder(what, results)
        print(export_to_mlflow(folder, uri or default_uri(folder)))
        return
    if out is None or uri is not None:
        raise ConfigError("a model needs --out FOLDER to write to; a study needs --to mlflow, and may have --uri")
    from core.inference.onnx_export import export_onnx

    model = Path(what)
    difference = export_onnx(_load(model), model, out, print_note)
    print(f"{format.value} in {out}: its probabilities are within {difference:.1e} of the model's")
    print(f"next: python {shlex.quote(str(out / 'example.py'))} 'a gorgeous, witty, seductive movie'")


def serve(
    model: Folder,
    port: Annotated[int, typer.Option(help="0 takes any free one", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    rate: Annotated[int, typer.Option(help="requests a second that one client may send, on average", min=1)] = 100,
) -> None:
    """Serve MODEL over HTTP. A page to type into, /predict and /health; Ctrl-C ends it."""
    from tuning.serving.server import serve as serve_model

    serve_model(lambda: _load(model), model.resolve().name, host=host, port=port, rate=rate)


def _load(folder: Path) -> "Predictor":
    from core.inference.predictor import load_model

    return load_model(folder, notify=print_note)
