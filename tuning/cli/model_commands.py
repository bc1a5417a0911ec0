"""The commands that use a saved model: predict, export, serve. They need no study, no data and no Ray."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.errors import ConfigError
from tuning.console import print_note, say_if_slow
from tuning.run_options import Encoding, Results, study_folder

if TYPE_CHECKING:
    from core.inference.predictor import Predictor

MAX_THREADS = 256
Folder = Annotated[Path, typer.Argument(help="Model folder, written by retrain or ensemble.", metavar="MODEL")]
MinProbability = Annotated[
    float | None,
    typer.Option(
        help="Give no label if the most probable class is less probable than P. Default: always give one.",
        metavar="P",
        show_default=False,
    ),
]
AtAccuracy = Annotated[
    float | None,
    typer.Option(
        help="Choose the smallest P such that at least this share of the labels is correct: by the lower end of a 95% "
        "interval, on the validation sentences.",
        metavar="A",
        show_default=False,
    ),
]

Threads = Annotated[
    int,
    typer.Option(
        help="Number of CPU threads. More of them help with large models on an idle machine, and slow down others.",
        min=1,
        max=MAX_THREADS,
    ),
]


def predict(
    model: Folder,
    texts: Annotated[list[str] | None, typer.Argument(help="Sentences to classify.", metavar="TEXT ...")] = None,
    file: Annotated[
        str | None, typer.Option(help="File or pipe with one sentence per line, or a table; - is standard input.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of a table with the texts. Default: that of the training data.")
    ] = None,
    encoding: Encoding = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="Output format; json: one object per line.")] = "text",
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add the probability of every class.")] = False,
    min_probability: MinProbability = None,
    at_accuracy: AtAccuracy = None,
    threads: Threads = 1,
    out: Annotated[
        Path | None, typer.Option(help="Output file, complete or not there at all. Default: standard output.")
    ] = None,
) -> None:
    """Label sentences. Each output line has label, probability and text, separated by tabs; a table becomes CSV.

    A file or a pipe may be of any length: each part is written as soon as it is labelled. A sentence without an answer
    has the label - in text, null in JSON, and an empty cell in CSV.
    """
    from tuning.serving.abstention import Abstention
    from tuning.serving.predict import PredictOptions, predict_texts

    options = PredictOptions(
        model=model,
        texts=texts or (),
        file=file,
        text_column=text_column,
        encoding=encoding,
        as_json=format == "json",
        probabilities=probabilities,
        abstention=Abstention(min_probability=min_probability, at_accuracy=at_accuracy),
        out=out,
    )
    predict_texts(lambda: _load(model, threads), print_note, options)


def export(
    what: Annotated[str, typer.Argument(help="Model folder, or a study with --to.", metavar="MODEL|STUDY")],
    out: Annotated[Path | None, typer.Option(help="Folder to create. Default: MODEL-onnx, next to MODEL.")] = None,
    format: Annotated[Literal["onnx"], typer.Option(help="Format of the exported model.")] = "onnx",
    to: Annotated[Literal["mlflow"] | None, typer.Option(help="Copy or update the study in this tracker.")] = None,
    uri: Annotated[
        str | None, typer.Option(help="Server or store of --to. Default: MLFLOW_TRACKING_URI, or RESULTS/mlflow.db.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write MODEL for use without torch, or copy STUDY to a tracker."""
    if to is not None:
        if out is not None:
            raise ConfigError("--out goes with a model, and --to with a study: --uri names the store")
        from tuning.tracking.mlflow import default_uri, export_to_mlflow

        folder = study_folder(what, results)
        with say_if_slow("copying the study ..."):
            line = export_to_mlflow(folder, uri or default_uri(folder))
        print(line)
        return
    if uri is not None:
        raise ConfigError("--uri goes with a study and --to mlflow: leave it out")
    from core.inference.onnx_export import export_onnx

    model = Path(what)
    if out is None:
        out = model.absolute().with_name(f"{model.absolute().name}-{format}")
    loaded = _load(model)
    with say_if_slow("writing the model, and comparing it ..."):
        difference = export_onnx(loaded, model, out, print_note)
    print(f"{format} in {out}: its probabilities are within {difference:.1e} of the model's in fp32")
    print(f"next: python {shlex.quote(str(out / 'example.py'))} 'your sentence'")


def serve(
    model: Folder,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 uses a free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")] = "127.0.0.1",
    rate: Annotated[
        int, typer.Option(help="Maximum words per second of one client, on average.", min=1, max=10**9)
    ] = 10_000,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            help="Further names of this server in requests, such as models.example.com,*.example.org; * for any. "
            "Local names and --host need not be given.",
            metavar="NAME,...",
        ),
    ] = None,
    threads: Threads = 1,
    min_probability: MinProbability = None,
    at_accuracy: AtAccuracy = None,
) -> None:
    """Serve MODEL over HTTP. Offers a page to type into, /predict, /health and /metrics; Ctrl-C stops it.

    A text without an answer has the label null.
    """
    from tuning.serving.abstention import Abstention
    from tuning.serving.server import serve_model

    serve_model(
        lambda: _load(model, threads),
        print_note,
        model.resolve().name,
        host=host,
        port=port,
        rate=rate,
        allowed_hosts=allowed_hosts,
        abstention=Abstention(min_probability=min_probability, at_accuracy=at_accuracy),
    )


def _load(folder: Path, threads: int | None = None) -> "Predictor":
    """Open a model, and let this process compute with so many threads; None for torch's default."""
    with say_if_slow("loading the model ..."):
        from core.inference.predictor import load_model

        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return load_model(folder, notify=print_note)
