"""The house rules: imports and their cost, layers, sizes, names and words."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.assessed_studies import write_study_with_ensemble
from tests.support.loaded import loaded_by, loaded_by_command

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("core", "tuning")
    for path in sorted((ROOT / package).rglob("*.py"))
}
RAY_ROOMS = {"tuning.backend"}
"""Modules, and packages with all that is below them."""
SUBPACKAGES = [path for path in MODULES.values() if path.name == "__init__.py" and path.parent.parent != ROOT]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that a file imports and every name that it takes from one; not those under TYPE_CHECKING."""
    nodes = list(ast.walk(tree_of(path)))
    skipped = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def test_the_modules_are_found() -> None:
    assert {"core.training.loop", "tuning.backend.tuner"} <= MODULES.keys()


def test_a_module_that_is_taken_from_its_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("from tests.system import test_training")
    assert "tests.system.test_training" in imported(tmp_path / "test_x.py")


def test_core_knows_neither_ray_nor_optuna_nor_studies() -> None:
    for module in (name for name in MODULES if name.startswith("core")):
        roots = {name.split(".")[0] for name in imported(MODULES[module])}
        assert roots & {"ray", "optuna", "tuning"} == set(), module


def in_ray_rooms(module: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in RAY_ROOMS)


def test_only_these_rooms_know_ray() -> None:
    for module in (name for name in MODULES if not in_ray_rooms(name)):
        assert {name for name in imported(MODULES[module]) if name.split(".")[0] == "ray"} == set(), module


@pytest.mark.slow
def test_each_ray_room_is_there_and_knows_ray() -> None:
    """A room that is empty, or was moved, would hide where Ray is imported now."""
    knowing = {name for name, path in MODULES.items() if any(each.split(".")[0] == "ray" for each in imported(path))}
    assert {room for room in RAY_ROOMS if not any(f"{name}.".startswith(f"{room}.") for name in knowing)} == set()


def test_only_ray_private_uses_private_names_of_ray() -> None:
    """Another version of Ray may lack them; tests/tuning/backend/test_ray_private.py checks each."""
    for module in MODULES.keys() - {"tuning.backend.ray_private"}:
        source = MODULES[module].read_text()
        assert re.findall(r"\bray(?:\.\w+)*\._(?!_)\w+|from ray[\w.]* import .*\b_\w+", source) == [], module


def test_imports_are_absolute() -> None:
    """The rules of this file see no other ones."""
    for path in MODULES.values():
        nodes = ast.walk(tree_of(path))
        assert [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == [], path


def test_a_subpackage_has_a_docstring_and_nothing_else() -> None:
    """Names have one home, and importing a module does not import its neighbours."""
    for path in SUBPACKAGES:
        assert ast.get_docstring(tree_of(path)), path
        assert len(tree_of(path).body) == 1, path


def test_the_packages_tell_type_checkers_that_they_have_type_hints() -> None:
    assert [name for name in ("core", "tuning") if not (ROOT / name / "py.typed").is_file()] == []


def test_each_folder_with_modules_is_a_package() -> None:
    """Without an `__init__.py` a folder is a namespace, which pip would leave out of the wheel unnoticed."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MODULES.values()}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


IMPURE = {
    *("ray", "os", "io", "pathlib", "shutil", "tempfile", "signal", "threading", "subprocess", "socket"),
    *("time", "datetime"),
    *("tuning.journal.file", "tuning.journal.reader", "tuning.journal.writer", "tuning.backend"),
}
"""What a module of tuning/scheduling imports to reach Ray, the disk, the wall clock or other processes."""


def test_the_schedule_uses_neither_ray_nor_the_disk_nor_the_wall_clock() -> None:
    for module in (name for name in MODULES if name.startswith("tuning.scheduling")):
        roots = {name for name in imported(MODULES[module]) if not name.startswith("tuning.")}
        assert {name.split(".")[0] for name in roots} & IMPURE == set(), module
        assert imported(MODULES[module]) & IMPURE == set(), module
        text = MODULES[module].read_text()
        assert re.findall(r"read_study|study_attributes|read_journal|\bopen\(", text) == [], module


def test_no_import_cycle() -> None:
    graph = {name: imported(path) & (MODULES.keys() - {"core", "tuning"}) for name, path in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == graph.keys()  # a cycle raises CycleError


@pytest.mark.slow
def test_what_tests_share_is_in_no_test() -> None:
    """To find a helper, one need not know which test used it first. Benchmarks import no tests at all."""
    for path in ROOT.glob("tests/**/*.py"):
        assert [name for name in imported(path) if name.startswith("tests.") and ".test_" in name] == [], path
    for path in ROOT.glob("benchmarks/**/*.py"):
        assert [name for name in imported(path) if name.split(".")[0] == "tests"] == [], path


UNPICKLERS = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "torch.load", "allow_pickle"}


def unpicklers(path: Path) -> set[str]:
    """What a file imports or calls that may unpickle."""
    found = {part for name in imported(path) for part in (name, name.split(".")[0])}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr == "load":
            found.add(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.add(node.arg)
    return found & UNPICKLERS


def test_no_file_is_unpickled() -> None:
    """A pickle can run any code when it is read, and models and caches may come from others."""
    for module, path in MODULES.items():
        assert unpicklers(path) == set(), module


@pytest.mark.parametrize(
    "code",
    [
        "import os, pickle",
        "def read(file):\n    from joblib import load",
        "import torch\nstate = torch.load(path, weights_only=True)",
        "from torch import load",
        "rows = np.load(path, allow_pickle=True)",
    ],
)
def test_an_unpickler_is_recognised(code: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(code)
    assert unpicklers(tmp_path / "x.py")


WRITES = re.compile(
    r".*\.write_(text|bytes)|(np|numpy)\.save\w*|.*\.tofile|(.*\.)?save_file|torch\.save|json\.dump|shutil\.(copy\w*|move)"
)
OPENS = re.compile(r"(.*\.)?(open|fdopen|ZipFile)")
WRITING = re.compile(r"'[rbt]*[wax+][rwaxbt+]*'|\bO_(WRONLY|RDWR|CREAT|APPEND|TRUNC)\b")
"""A mode, or a flag of `os.open`."""


def is_write(call: ast.Call) -> bool:
    """Return whether a call writes a file, which the null device is not."""
    name = ast.unparse(call.func)
    if WRITES.fullmatch(name):
        return True
    code = ast.unparse(call) if OPENS.fullmatch(name) else ""
    return WRITING.search(code) is not None and "os.devnull" not in code


def writing_functions(path: Path) -> set[str]:
    """The innermost functions of a file around its writes; "" for a write outside of all."""
    nodes = list(ast.walk(tree_of(path)))  # an inner function after its outer one
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = set()
    for call in (node for node in nodes if isinstance(node, ast.Call) and is_write(node)):
        around = [each.name for each in functions if each.lineno <= call.lineno <= (each.end_lineno or 0)]
        found.add(around[-1] if around else "")
    return found


WRITERS = {
    "core.data.load._build": "fills the folder of cache.get_or_build",
    "core.data.load._save": "fills the folder of cache.get_or_build",
    "core.data.movie_reviews._fetch_snippets": "fills the folder of cache.get_or_build",
    "core.data.movie_reviews.fetch": "fills the folder of cache.get_or_build",
    "core.data.vectors.fetch": "fills the folder of cache.get_or_build",
    "tuning.journal.file.truncate_partial_line": "repairs the journal in place, before Optuna appends to it",
    "tuning.journal.probabilities.pack_log_odds": "writes into memory, and then atomically",
    "tuning.tracking.mlflow._check_database": "only checks that MLflow can write",
}
"""Functions outside core/io that may open or write a file, with the reason."""


def test_files_are_written_in_core_io() -> None:
    """There a file is complete or absent, and a full disk is one line."""
    found = {
        f"{module}.{function}"
        for module, path in MODULES.items()
        if not module.startswith("core.io.")
        for function in writing_functions(path)
    }
    assert found == WRITERS.keys(), "write with atomic_file, atomic_folder or atomic_write"


@pytest.mark.parametrize(
    "call",
    [
        "open(path, 'w')",
        "path.open(mode='ab')",
        "open(path, 'r+' if found else 'xb')",
        "os.fdopen(handle, 'wb')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "(folder / 'x').write_text(text)",
        "np.save(path, values)",
        "json.dump(value, file)",
        "shutil.copyfile(one, other)",
    ],
)
def test_a_write_is_recognised(call: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(f"def outer():\n    def inner():\n        {call}\n")
    assert writing_functions(tmp_path / "x.py") == {"inner"}


@pytest.mark.parametrize("call", ["open(path)", "path.open('rb')", "os.open(os.devnull, os.O_WRONLY)", "Image.open(x)"])
def test_reading_is_no_write(call: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(call)
    assert writing_functions(tmp_path / "x.py") == set()


def test_importing_core_loads_nothing_heavy() -> None:
    heavy = ("ray", "optuna", "torch", "nltk", "pandas", "sklearn", "numpy")
    assert loaded_by("import core", *heavy) == set()
    assert loaded_by("import core.config, core.errors", *heavy) == set()
    assert loaded_by("from core import EpochResult", *heavy) == set()


@pytest.mark.slow
def test_training_needs_neither_ray_nor_optuna() -> None:
    assert loaded_by("from core import TrialConfig, load_corpus, train", "ray", "optuna", "torch") == {"torch"}


def test_best_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    """So that it answers in under a second."""
    write_study_with_ensemble(tmp_path, [range(0, 40), range(40, 90), range(90, 140)], plain=range(150))
    watched = ("torch", "ray", "nltk", "sklearn", "scipy", "pandas", "optuna", "altair")
    assert loaded_by_command(["best", str(tmp_path)], *watched) == {"optuna"}


def test_importing_tuning_loads_nothing_heavy() -> None:
    """`from tuning import search` in a notebook's first cell takes the time of what it needs, `import tuning` none."""
    assert loaded_by("import tuning", "ray", "optuna", "torch", "pandas", "numpy", "typer", "altair") == set()
    assert loaded_by("from tuning import search, load_study", "ray", "torch", "altair", "nltk", "pandas") == set()


LAYERS = [
    ["tuning.cli", "tuning.api"],
    ["tuning.run"],
    ["tuning.forecast", "tuning.confirm", "tuning.ensemble", "tuning.distill"],
    ["tuning.retrain", "tuning.report"],
    [
        "tuning.run_options",
        "tuning.study_options",
        "tuning.study_config",
        "tuning.warm_start",
        "tuning.plain_fit",
        "tuning.frames",
    ],
    ["tuning.analysis", "tuning.tracking"],
    ["tuning.backend"],
    ["tuning.scheduling", "tuning.resources"],
    ["tuning.serving", "tuning.space", "tuning.journal"],
    ["tuning.console", "tuning.formatting", "tuning.arguments"],
    ["core.inference"],
    ["core.training"],
    ["core.nn"],
    ["core.data"],
    ["core.io"],
    ["core.config", "core.stats", "core.metrics", "core.class_report", "core.calibration", "core.log_odds"],
    ["core.errors"],
]
"""Packages and modules, from the top down; each imports only its own and lower layers."""


def layer_of(module: str) -> int:
    found = [at for at, names in enumerate(LAYERS) if any(f"{module}.".startswith(f"{name}.") for name in names)]
    assert len(found) == 1, f"{module} is in no layer"
    return found[0]


def test_a_module_imports_only_its_own_layer_and_lower_ones() -> None:
    for module in MODULES.keys() - {"core", "tuning", "tuning.__main__"}:
        known = imported(MODULES[module]) & MODULES.keys() - {"core", "tuning"}
        assert sorted(name for name in known if layer_of(name) < layer_of(module)) == [], module


def test_a_folder_holds_at_most_14_modules() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [folder for folder in folders if len(list(folder.glob("*.py"))) > 14] == []


def test_a_module_has_40_to_400_lines() -> None:
    for path in (path for path in MODULES.values() if path.name not in ("__init__.py", "__main__.py")):
        assert 40 <= len(path.read_text().splitlines()) <= 400, path


FORMER_WORDS = {
    r"told": "reported",
    r"mend(s|ed|ing)?": "fix",
    r"spells?": "segment",
    r"slopes?": "gradient",
    r"(go|goes|going|went) on": "continue, resume",
    r"anew": "again",
    r"so many": "how many, a number",
    r"nobody|no one|whoever|somebody": "a named subject",
    r"(?<!\d )bits": "bit-identical",  # a number of bits is a size: "16 bits per value"
    r"stands?|stood": "is, has, applies",
    r"bears?": "allow",
    r"beside": "besides, next to",
    r"the person|a person": "the user",
    r"(come|comes|coming|came) (to|out)": "result",
    r"by itself": "alone, separately",
    r"lest|thereby|nought|forsaken": "a common word",
    r"where that is|but for": "if, except",
    r"honest": "corrected, unbiased",
    r"ours": "sentune's",
    r"upkeep|tally|ledger": "the glossary's term",
}
"""Former words -> plain English or a term of the glossary. A hyphen makes another word: `bit-identical`."""
FORMER = re.compile(rf"(?<![\w-])({'|'.join(FORMER_WORDS)})(?![\w-])", re.IGNORECASE)


def prose() -> Iterator[tuple[str, str]]:
    """Each text for users and developers with its place: strings, docstrings, comments, templates and pages."""
    for path in MODULES.values():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT:
                yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string
    for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]:
        yield f"{path.relative_to(ROOT)}:1", ast.get_docstring(tree_of(path)) or ""
    for path in ROOT.glob("tuning/**/*.html"):
        yield str(path.relative_to(ROOT)), path.read_text()
    pages = ("*.md", "docs/**/*.md", "results/*.md", "results/reference/*.md")
    for path in sorted(path for pattern in pages for path in ROOT.glob(pattern)):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


@pytest.mark.slow
def test_no_former_word_comes_back() -> None:
    found = [f"{place}: {match[0]}" for place, text in prose() for match in FORMER.finditer(text)]
    assert found == [], f"write plain English: {FORMER_WORDS}"


@pytest.mark.parametrize("word", ["told", "It goes on.", "the same bits", "16 bits go on", "beside it", "came to be"])
def test_a_former_word_is_recognised(word: str) -> None:
    assert FORMER.search(word)


@pytest.mark.parametrize("word", ["bit-identical", "16 bits per value", "besides", "stand-in", "standard", "forest"])
def test_other_words_are_allowed(word: str) -> None:
    assert not FORMER.search(word)


PRIVATE_TERMS = {
    *("slopes", "told", "mend", "spell", "upkeep", "halt", "ledger", "honest", "judgement", "tally", "joined"),
    *("keeping", "reach", "wanted", "sealed", "known"),
}
"""Former terms of this project that have a standard name."""


def names_in(tree: ast.AST) -> set[str]:
    """Classes, functions and attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_no_name_is_one_of_the_former_private_terms() -> None:
    for module, path in MODULES.items():
        names = {*module.split("."), *names_in(tree_of(path))}
        words = {name: set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())) for name in names}
        assert {name for name, parts in words.items() if parts & PRIVATE_TERMS} == set(), module


def test_no_public_class_or_function_is_defined_twice() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}
