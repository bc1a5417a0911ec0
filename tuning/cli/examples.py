"""Example commands, at the end of each command's --help."""

EXAMPLES = {
    "": (
        "sentune run                             # search on real movie snippets",
        "sentune best snippets-quick             # show what it found",
        "sentune retrain snippets-quick --out model",
        "sentune predict model 'your sentence'",
    ),
    "run": (
        "sentune run --trials 24 --time-budget 30m",
        "sentune run reviews.csv --text-column body --label-column stars",
    ),
    "plan": (
        "sentune plan --trials 40 --time-budget 20m",
        "sentune plan --space default --show-space",
    ),
    "best": (
        "sentune best snippets-quick --top 3",
        "sentune best snippets-quick --where n_layers=1 --sort -seconds",
    ),
    "list": ("sentune list", "sentune list --results experiments --format json"),
    "report": (
        "sentune report snippets-quick",
        "sentune report snippets-quick --watch --out page.html",
    ),
    "confirm": (
        "sentune confirm snippets-quick --top 3 --seeds 10",
        "sentune confirm snippets-quick --folds 10",
    ),
    "retrain": (
        "sentune retrain snippets-quick --out model",
        "sentune retrain snippets-quick --on train+val --out model",
    ),
    "ensemble": (
        "sentune ensemble snippets-quick --out model",
        "sentune ensemble snippets-quick --size 2 --on train+val",
    ),
    "distill": (
        "sentune distill model snippets-quick --out small",
        "sentune distill model snippets-quick --unlabelled sentences.txt",
    ),
    "predict": (
        "sentune predict model 'your sentence'",
        "sentune predict model --file reviews.csv --text-column body",
    ),
    "export": (
        "sentune export model --format onnx --out model-onnx",
        "sentune export snippets-quick --to mlflow",
    ),
    "serve": ("sentune serve model --port 8000", "sentune serve model --min-probability 0.8"),
    "data": (
        "sentune data reviews.csv --text-column body --label-column stars",
        "sentune data --list",
    ),
}
"""Name of a command -> its two example lines, of at most 76 characters; the empty name is the program itself."""


def examples(verb: str = "") -> str:
    r"""Return the end of a command's --help; `\b` keeps Typer from wrapping its lines."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in EXAMPLES[verb])])
