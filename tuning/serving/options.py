"""The options of `predict`, and those that it shares with `serve`, with their help texts and defaults.

The command line reads this module for every command, so heavy modules are imported where they are used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument

from core.config import MAX_THREADS
from core.errors import ConfigError
from core.io.atomic import expand_user
from tuning.run_options import DataOption, Encoding, OutputOption, OutputPath, ResourcesOption

if TYPE_CHECKING:
    from tuning.serving.abstention import Abstention

ModelFolder = Annotated[Path, Argument(help="Model folder, written by retrain, ensemble or distill.", metavar="MODEL")]
MinProbability = Annotated[
    float | None,
    OutputOption(
        help="Give no label if the most probable class is less probable than P. Default: always give one.",
        metavar="P",
        show_default=False,
    ),
]
AtAccuracy = Annotated[
    float | None,
    OutputOption(
        help="Choose the smallest P such that at least this fraction of the labels is correct. That is decided by the "
        "lower end of a 95% interval on the validation sentences. Default: none, use --min-probability.",
        metavar="A",
        show_default=False,
    ),
]
Threads = Annotated[
    int,
    ResourcesOption(
        help="Number of CPU threads.",
        min=1,
        max=MAX_THREADS,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """The options of `predict`: texts to label, and form of the output.

    Raises:
        ConfigError: The options conflict, or one of them breaks its rule; the message names the option.
    """

    model: ModelFolder
    texts: Annotated[
        list[str] | None, Argument(help="Sentences to classify. Default: none, use --file.", metavar="TEXT ...")
    ] = None
    file: Annotated[
        str | None,
        DataOption(
            help="File or pipe with one sentence per line, or a table; - is standard input. Default: none, use TEXT."
        ),
    ] = None
    text_column: Annotated[
        str | None,
        DataOption(help="Column with the sentences, if --file is a table. Default: that of the training data."),
    ] = None
    encoding: Encoding = None
    format: Annotated[
        Literal["text", "json"], OutputOption(help="Output format. With json, each line is one object.")
    ] = "text"
    probabilities: Annotated[bool, OutputOption("--probabilities", help="Add the probability of every class.")] = False
    min_probability: MinProbability = None
    at_accuracy: AtAccuracy = None
    threads: Threads = 1
    out: Annotated[
        Path | None,
        OutputPath(help="Output file, which is written as a whole or not at all. Default: standard output."),
    ] = None

    def __post_init__(self) -> None:
        from tuning.serving.inputs import ENDINGS, NO_TEXT, no_text_problem
        from tuning.serving.outputs import output_problem

        object.__setattr__(self, "model", expand_user(str(self.model)))
        _ = self.abstention  # raises ConfigError if one of its options breaks a rule
        if self.file is not None and self.file.startswith("~"):
            object.__setattr__(self, "file", str(expand_user(self.file)))
        path = None if self.file is None else Path(self.file)
        rules = {
            "pass sentences, or --file with one sentence per line (- for standard input)": bool(
                self.texts or self.file
            ),
            "pass either sentences or --file, not both": not (self.texts and self.file),
            f"--text-column must be used with --file and a file ending in {ENDINGS} (.gz too)": self.text_column is None
            or self.is_table,
            "--encoding must be used with --file": self.encoding is None or path is not None,
        }
        problems = [problem for problem, holds in rules.items() if not holds]
        if self.file is not None and (problem := no_text_problem(self.file, "--file")):
            problems.append(problem)
        if self.out is not None and (problem := output_problem(self.out, path, self.model)):
            problems.append(problem)
        ending = "" if self.out is None else self.out.suffix.lower()
        written = ".jsonl" if self.as_json else ".csv" if self.is_table else ".tsv"
        if ending in (".gz", ".parquet", *NO_TEXT) and not (self.as_json and ending == ".json"):
            problems.append(f"--out is written as text, got {self.out}; choose a name that ends in {written} or .txt")
        if ending in (".csv", ".tsv", ".jsonl") and ending != written:
            other = "be used with --format json, or " * (ending == ".jsonl")
            problems.append(f"--out {self.out} must {other}end in {written} or .txt, the format of its content")
        if problems:
            raise ConfigError("; ".join(problems))

    @property
    def is_table(self) -> bool:
        """Whether the name of the file is that of a table."""
        from core.data.readers import format_of

        return self.file is not None and format_of(Path(self.file)) is not None

    @property
    def as_json(self) -> bool:
        """Whether to write JSON lines instead of text or CSV."""
        return self.format == "json"

    @property
    def abstention(self) -> "Abstention":
        """The rule for texts without a label."""
        from tuning.serving.abstention import Abstention

        return Abstention(min_probability=self.min_probability, at_accuracy=self.at_accuracy)
