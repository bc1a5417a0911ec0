"""The verb `data`: prepare and audit a dataset, or list, verify or clear the cache."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from core.errors import ConfigError, CorruptionError, UserError, check_rules
from core.io.atomic import folder_rule
from core.io.text import printable
from tuning.cli.options import takes_data_options
from tuning.console import READING_DATA, for_terminal, print_note, say_if_slow
from tuning.formatting import format_megabytes
from tuning.journal.folder import study_folder
from tuning.run_options import (
    DATA_OPTIONS,
    CacheDir,
    OutputOption,
    Results,
    RunOptions,
    corpus_arguments,
)


def _show_cache(folder: Path, verify: bool) -> None:
    """List the cache, or verify it. Print damaged entries, then raise CorruptionError."""
    from core.io import cache

    states = {path: _contents(path) for path in cache.entries(folder)}
    damaged: dict[Path, str | None] = {}
    if verify:
        damaged = {path: problem for path, problem in cache.verify(folder).items() if problem}
        states = {path: damaged.get(path) or f"intact: {text}" for path, text in states.items()}
    sizes = {path: cache.size_bytes(path) for path in states}
    for path, state in states.items():
        print(f"{path.parent.name}/{path.name[:12]}  {format_megabytes(sizes[path]):>10}  {printable(state)}")
    count = f"{len(sizes)} entr{'y' if len(sizes) == 1 else 'ies'}"
    unfinished = cache.unfinished_bytes(folder)
    more = f"; unfinished downloads and entries: {format_megabytes(unfinished)}" if unfinished else ""
    print(f"{folder}: {count}, {format_megabytes(sum(sizes.values()))}{more}")
    if damaged:
        raise CorruptionError(
            f"entries in {folder} that are damaged or cannot be read: {len(damaged)}; run the command that needs one, "
            "which builds a damaged one again"
        )


def _contents(path: Path) -> str:
    """Return one line about the inputs of a cache entry."""
    from core.io.cache import FORMATS, read_manifest

    try:
        entry = read_manifest(path)
    except (UserError, FileNotFoundError) as damage:
        return str(damage)
    if entry.format != FORMATS[path.parent.name]:
        return "of another version of sentune; this one does not use it"
    inputs = entry.inputs
    if "data" not in inputs:
        return str(inputs.get("source", "?"))
    vectors, split = inputs["vectors"] or {"vectors": "none"}, inputs["split"]
    seed = "" if split["seed"] is None else f" seed {split['seed']}"
    return f"{inputs['data']['dataset']}, split {split['rule']}{seed}, vectors {vectors['vectors']}"


@takes_data_options
def data(
    arguments: Mapping[str, Any],
    format: Annotated[
        Literal["text", "json", "csv"], OutputOption(help="Output format. csv is for --suspects only.")
    ] = "text",
    suspects: Annotated[
        str | None,
        OutputOption(
            help="List the sentences of this study whose label is most likely wrong, instead of the audit. They come "
            "from the validation split, or after confirm --folds K from all sentences; if the study has --validation "
            "folds:K, always from all training sentences. DATASET and --vectors are then new paths of the study's "
            "data. Default: none.",
            metavar="STUDY",
        ),
    ] = None,
    list_: Annotated[bool, OutputOption("--list", help="List the cache instead of a dataset's audit.")] = False,
    verify: Annotated[
        bool, OutputOption("--verify", help="Verify every file of the cache instead of an audit.")
    ] = False,
    clear: Annotated[bool, OutputOption("--clear", help="Delete the cache instead of an audit.")] = False,
    cache_dir: CacheDir = None,
    results: Results = Path("results"),
) -> None:
    """Fetch, audit and cache DATASET, and print the audit."""
    if list_ + verify + clear + (suspects is not None) > 1:
        raise ConfigError("--list, --verify, --clear and --suspects exclude one another; pass one of them")
    defaults = {name: getattr(RunOptions, name) for name in DATA_OPTIONS}
    usual = corpus_arguments(defaults | {"allow_leak": True})
    given = {name: value for name, value in arguments.items() if value != usual[name]}
    if suspects is not None:
        if given.keys() - {"dataset", "vectors"}:
            raise ConfigError("--suspects reads the data of its study; leave out their options, except --vectors")
        from tuning.analysis.suspects import suspects_text

        with say_if_slow("reading the study and its data ..."):
            text = suspects_text(study_folder(suspects, results), cache_dir, format, **given)
        print(for_terminal(text))
        return
    if list_ or verify or clear:
        if given:
            raise ConfigError("--list, --verify and --clear are for the whole cache; leave out DATASET and its options")
        if format != "text":
            raise ConfigError(f"--list, --verify and --clear print text, got --format {format}; leave it out")
        from core.io import cache

        folder = cache_dir or cache.default_dir()
        check_rules({"--cache-dir": folder_rule(folder)})
        if clear:
            print(f"{folder}: {format_megabytes(cache.clear(folder, print_note))} freed")
        else:
            _show_cache(folder, verify)
        return
    if format == "csv":
        raise ConfigError("--format csv is for --suspects only; choose text or json")
    from core.data.audit import audit_warnings, render_audit
    from core.data.load import load_corpus

    with say_if_slow(READING_DATA):
        corpus = load_corpus(**arguments, cache_dir=cache_dir, progress=print_note)
    if format == "text":
        print(render_audit(corpus.source["audit"]))
        return
    about = {name: corpus.source[name] for name in ("dataset", "licence", "vectors", "vectors_licence", "tokenizer")}
    about |= {"fingerprint": corpus.fingerprint, "warnings": audit_warnings(corpus.source["audit"])}
    print(json.dumps({**about, **corpus.source["audit"]}, indent=2))
