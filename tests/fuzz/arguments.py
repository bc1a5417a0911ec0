"""Command lines: options of each verb, with values of the option's type and beyond it."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.main

from tests.fuzz.place import DATA, FIRST, LINES, MIXTURE, MODEL, PIPE, SPACE, STOPPED, STUDY, TABLE, VECTORS
from tuning.cli.app import app

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
"""Command of each verb."""
NUMBERS = (
    "0", "1", "2", "3", "5", "-1", "-0", "0.5", "1.5", "1e3", "1e308", "1e400", "nan", "inf", "-inf", "0x10", "\u0663",
    "1_000", "007", "", " ", "many", "99", "4096", "4294967296", "9" * 19, "9" * 60, "-" + "9" * 25,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "-", "--", ".", "..", "/", "*", "%s", "{}", "a" * 300, "x" * 5000, "\x1b[31m", "\u202e", "\ud800",
    "a\nb", "a\tb", "'", '"', "\\", "$HOME", "`true`", "é", "再见", "null", "True", "auto", "none", "train", "best",
    "recommended", "label", "text", "val_accuracy>0.5", "n_layers=1", "hidden_dim=int(4,8)", "learning_rate=log(1,0)",
    "a=b=c", "=", "int(", "folds:2", "folds:0", "folds:99999", "80/10/10", "0/0/0", "1/1/98", "33/33/33", "-1/50/51",
    "notebook", "english", "whitespace", "characters", "tpe", "qmc", "cmaes", "accuracy", "log_loss", "roc_auc",
    "30m", "1s", "0s", "99999999h", "utf-8", "utf-16", "latin-1", "idna", "rot13", "hex", "undefined",
    "127.0.0.1:1", "127.0.0.1:99999", "[::1]:1", "localhost", ":", "http://x", "file:///dev/null/x", "ftp://h/x",
    "random", "portfolio", "default", "quick", "fp32", "bf16", "0.5,0.5", "text,label", "p_a,p_b",
)  # fmt: skip
PATHS = (DATA, TABLE, LINES, VECTORS, SPACE, FIRST, STUDY, STOPPED, MODEL, MIXTURE, "good", "stopped", "results", ".",
         f"{STUDY}/study.journal", f"{MODEL}/labels.json", f"{MODEL}/config.json", f"{DATA}/below", "gone", "gone/gone",
         "gone.csv", "new.csv", "new.html", "new", "new.jsonl.gz", "", "..", "/dev/null", "/dev/zero", "/dev/full",
         "/proc/self/x", "a" * 256, "a" * 256 + ".csv", "/".join(["a" * 200] * 30), "\x00", "\ud800.csv", "a\nb.csv",
         "~nobody-of-this-name/x", PIPE, "mr:gone", "mr:" + DATA, "http://127.0.0.1/x.csv", "-", "./-x")  # fmt: skip
PATH_NAMES = ("dataset", "vectors", "file", "study", "what", "model", "space", "first_trials", "warm_start",
              "unlabelled", "suspects", "storage")  # fmt: skip
"""Arguments and options that are texts for Typer and name a file or a folder."""
UNSAFE = ("/", "..")
"""Where a command could write outside the place."""
ALWAYS = ("run", "plan", "data")
"""Verbs whose argument is never left out, because the default would be fetched."""


def command(draw: random.Random, verb: str) -> list[str]:
    """Return a verb with arguments and up to four options."""
    parameters = COMMANDS[verb].params
    arguments = [each for each in parameters if not each.opts[0].startswith("-")]
    options = [each for each in parameters if each.opts[0].startswith("-") and each.name != "help"]
    words = [verb]
    for parameter in arguments:
        if draw.random() < 0.9 or verb in ALWAYS:
            words += _values(draw, parameter)
    for parameter in draw.sample(options, min(len(options), draw.choice((0, 1, 1, 2, 2, 3, 4)))):
        words += _option(draw, parameter)
    if draw.random() < 0.05:
        words.insert(draw.randint(1, len(words)), draw.choice(("--bogus", "-x", "--", "--trials=", "extra", "--help")))
    return [word for word in words if _is_possible(word)]


def _is_possible(word: str) -> bool:
    """Return whether a process can get the word: neither a null character nor half of a surrogate pair."""
    return "\0" not in word and word == word.encode("utf-8", "replace").decode()


def _option(draw: random.Random, parameter: Any) -> list[str]:
    name = draw.choice(parameter.opts)
    if parameter.is_flag:
        return [name]
    count = draw.choice((1, 1, 2)) if parameter.multiple else 1
    values = [value(draw, parameter) for _ in range(count)]
    if draw.random() < 0.3:
        return [f"{name}={each}" for each in values]
    return [word for each in values for word in (name, each)]


def _values(draw: random.Random, parameter: Any) -> list[str]:
    count = draw.randint(0, 3) if parameter.nargs == -1 else 1
    return [value(draw, parameter) for _ in range(count)]


def value(draw: random.Random, parameter: Any) -> str:
    """Return a value for an argument or option: mostly of its kind, sometimes of another."""
    kind = parameter.type_descriptor.annotation
    pool: Sequence[str] = PATHS if kind is Path or parameter.name in PATH_NAMES else TEXTS
    if kind in (int, float):
        pool = NUMBERS
    if get_origin(kind) is Literal:
        pool = [*get_args(kind), draw.choice(TEXTS)]
    usual = _usual(parameter)
    if usual and draw.random() < 0.5:
        return draw.choice(usual)
    if draw.random() < 0.1:
        pool = draw.choice((NUMBERS, TEXTS, PATHS))
    chosen = draw.choice(pool)
    return "x" if chosen in UNSAFE and _writes(parameter) else chosen


def _usual(parameter: Any) -> Sequence[str]:
    """Return values that lead further than to the first refusal."""
    return {
        "dataset": (DATA, DATA, TABLE), "study": ("good", "stopped", STUDY), "model": (MODEL, MIXTURE),
        "what": (MODEL, "good"), "vectors": ("none", VECTORS), "file": (LINES, DATA, "-"), "space": ("notebook", SPACE),
        "suspects": ("good",), "warm_start": ("good",), "results": ("results",), "cache_dir": ("cache",),
    }.get(parameter.name, ())  # fmt: skip


def _writes(parameter: Any) -> bool:
    return parameter.name in ("out", "images", "results", "cache_dir", "storage", "name")
