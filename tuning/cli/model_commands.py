"""The verbs predict, export and serve, which need neither the data nor Ray. `export --to` copies a study."""

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.errors import ConfigError, check_rules
from core.io.atomic import expand_user
from tuning.cli.options import takes_options
from tuning.console import print_note, say_if_slow
from tuning.journal.folder import study_folder
from tuning.run_options import OutputOption, OutputPath, Results
from tuning.serving.options import AtAccuracy, MinProbability, ModelFolder, PredictOptions, Threads

if TYPE_CHECKING:
    from core.inference.predictor import Predictor

ServerOption = partial(typer.Option, rich_help_panel="Server")


@takes_options(PredictOptions)
def predict(options: PredictOptions) -> None:
    """Label sentences. Prints label, probability and text, separated by tabs. Writes a table as CSV.

    Reads a file or a pipe of any length, and writes each part as soon as it is labelled. With --min-probability or
    --at-accuracy, a sentence below the limit has an empty label in text and CSV, and null in JSON.
    """
    from tuning.serving.predict import predict_texts

    predict_texts(lambda: _load(options.model, options.threads), print_note, options)


def export(
    what: Annotated[str, typer.Argument(help="Model folder, or a study with --to.", metavar="MODEL|STUDY")],
    out: Annotated[Path | None, OutputPath(help="Folder to create. Default: MODEL-onnx, next to MODEL.")] = None,
    format: Annotated[Literal["onnx"], OutputOption(help="Format of the exported model.")] = "onnx",
    to: Annotated[
        Literal["mlflow"] | None,
        OutputOption(help="Copy or update the study in this tracker. Default: export a model."),
    ] = None,
    uri: Annotated[
        str | None, OutputOption(help="Server or store of --to. Default: MLFLOW_TRACKING_URI, or RESULTS/mlflow.db.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Export MODEL for use without torch, or copy STUDY to a tracker."""
    if to is not None:
        if out is not None:
            raise ConfigError(
                "--out is for a model, --to for a study; pass one of them (--uri names the store of --to)"
            )
        check_rules({"--uri": (uri, "a server or a store", uri != "")})
        from tuning.tracking.mlflow import default_uri, export_to_mlflow

        folder = study_folder(what, results)
        with say_if_slow("copying the study ..."):
            line = export_to_mlflow(folder, uri or default_uri(folder))
        print(line)
        return
    if uri is not None:
        raise ConfigError("--uri is for a study and --to mlflow; leave it out, or pass --to mlflow")
    from core.inference.onnx_export import export_onnx

    model = expand_user(what)
    loaded = _load(model)
    if out is None:
        out = model.absolute().with_name(f"{model.absolute().name}-{format}")
    with say_if_slow("writing the model, and comparing it ..."):
        difference = export_onnx(loaded, model, out, print_note)
    print(f"{format} model in {out}: probabilities differ from those of the model in fp32 by at most {difference:.1e}")
    print(f"next: {shlex.join([sys.executable, str(out / 'example.py')])} 'your sentence'")


def serve(
    model: ModelFolder,
    port: Annotated[int, ServerOption(help="Port to listen on; 0 uses a free one.", min=0, max=65535)] = 8000,
    host: Annotated[
        str, ServerOption(help="Address to listen on; 0.0.0.0 accepts requests from other machines.")
    ] = "127.0.0.1",
    rate: Annotated[
        int, ServerOption(help="Maximum number of words per second from one client, on average.", min=1, max=10**9)
    ] = 10_000,
    allowed_hosts: Annotated[
        str | None,
        ServerOption(
            help="More host names that requests may use, e.g. models.example.com,*.example.org; * allows any. "
            "Default: local names and --host.",
            metavar="NAME,...",
        ),
    ] = None,
    threads: Threads = 1,
    min_probability: MinProbability = None,
    at_accuracy: AtAccuracy = None,
) -> None:
    """Serve MODEL over HTTP. Offers a page to type into, /predict, /health and /metrics. Ctrl-C stops the server.

    With --min-probability or --at-accuracy, a text below the limit has the label null.
    """
    from tuning.serving.abstention import Abstention
    from tuning.serving.server import serve_model

    folder = expand_user(str(model))
    serve_model(
        lambda: _load(folder, threads),
        print_note,
        Path(os.path.realpath(folder)).name,
        host=host,
        port=port,
        rate=rate,
        allowed_hosts=allowed_hosts,
        abstention=Abstention(min_probability=min_probability, at_accuracy=at_accuracy),
    )


def _load(folder: Path, threads: int | None = None) -> "Predictor":
    """Open a model, and set the number of threads of this process; None keeps torch's default."""
    with say_if_slow("loading the model ..."):
        from core.inference.predictor import load_model

        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return load_model(folder, notify=print_note)
