"""The house rules: imports and their cost, layers, sizes, and one home of each name."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.assessed_studies import write_study_with_ensemble
from tests.support.loaded import loaded_by, loaded_by_command
from tests.support.modules import MODULES, ROOT, imported, tree_of
from tests.support.page_blocks import blocks_of

SUBPACKAGES = [path for path in MODULES.values() if path.name == "__init__.py" and path.parent.parent != ROOT]


def test_a_module_that_is_taken_from_its_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("from tests.system import test_order")
    assert "tests.system.test_order" in imported(tmp_path / "test_x.py")


def test_core_knows_neither_ray_nor_optuna_nor_studies() -> None:
    for module in (name for name in MODULES if name.startswith("core")):
        roots = {name.split(".")[0] for name in imported(MODULES[module])}
        assert roots & {"ray", "optuna", "tuning"} == set(), module


def test_ray_is_imported_in_the_backend_alone() -> None:
    found = {name for name, path in MODULES.items() if "ray" in {each.split(".")[0] for each in imported(path)}}
    assert found
    assert [name for name in sorted(found) if not name.startswith("tuning.backend.")] == []


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
    """Without an `__init__.py` a folder is a namespace, which has no docstring that says what it holds."""
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
    """To find a helper, one need not know which test used it first."""
    taken = r"^ *(?:(?:from|import) tests(?:\.\w+)*\.test_\w+|from tests[\w.]* import (?:[^()\n]*|\([^)]*)\btest_\w+)"
    for path in ROOT.glob("tests/**/*.py"):
        assert re.findall(taken, path.read_text(), flags=re.MULTILINE) == [], path


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
    r"|copy_files|.*\.open_output_stream|EventsWriter"
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
    "tuning.backend.checkpoint_sync._download": "fills the folder of atomic_folder",
    "tuning.backend.checkpoint_sync._upload": "copies to the storage, the checksums last; a part is ignored",
    "tuning.backend.storage.marker_file": "writes a small file that is removed after the check",
    "tuning.journal.file.truncate_partial_line": "repairs the journal in place, before Optuna appends to it",
    "tuning.journal.probabilities.pack_log_odds": "writes into memory, and then atomically",
    "tuning.tracking.mlflow._check_database": "only checks that MLflow can write",
    "tuning.tracking.tensorboard.__init__": "tensorboardX appends to its event file",
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
        "copy_files(one, other, here, there)",
        "system.open_output_stream(name)",
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
    assert loaded_by("import core", *heavy, "core.errors") == set()
    assert loaded_by("import core.config, core.errors; from core import EpochResult", *heavy) == set()
    code = "from core import load_corpus, Corpus, ConfigError; import core.inference.saved_model"
    assert loaded_by(code, *heavy, "pyarrow") == {"numpy"}


def test_best_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    """So that it answers in under a second."""
    write_study_with_ensemble(tmp_path, [range(0, 40), range(40, 90), range(90, 140)], plain=range(150))
    watched = ("torch", "ray", "nltk", "sklearn", "scipy", "pandas", "optuna", "altair")
    assert loaded_by_command(["best", str(tmp_path)], *watched) == {"optuna"}


def test_listing_the_cache_loads_nothing_heavy(tmp_path: Path) -> None:
    """The options of `data` are compared with their defaults, which needs neither a search space nor a sampler."""
    command = ["data", "--list", "--cache-dir", str(tmp_path)]
    assert loaded_by_command(command, "torch", "ray", "nltk", "sklearn", "pandas", "optuna") == set()


def test_importing_tuning_loads_nothing_heavy() -> None:
    """`from tuning import search` in a notebook's first cell takes the time of what it needs, `import tuning` none."""
    assert loaded_by("import tuning", "ray", "optuna", "torch", "pandas", "numpy", "typer", "altair") == set()
    assert loaded_by("from tuning import search, load_study", "ray", "torch", "altair", "nltk", "pandas") == set()


LAYERS = [
    ["tuning.cli", "tuning.api"],
    ["tuning.run"],
    ["tuning.forecast", "tuning.confirm", "tuning.ensemble", "tuning.distill"],
    ["tuning.retrain", "tuning.report", "tuning.serving"],
    [
        "tuning.run_options",
        "tuning.study_options",
        "tuning.planned_search",
        "tuning.warm_start",
        "tuning.plain_fit",
        "tuning.frames",
    ],
    ["tuning.analysis", "tuning.tracking"],
    ["tuning.backend"],
    ["tuning.scheduling", "tuning.resources"],
    ["tuning.space", "tuning.journal"],
    ["tuning.console", "tuning.formatting", "tuning.arguments"],
    ["core.inference"],
    ["core.plain_baseline"],
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


def test_no_public_class_or_function_is_defined_twice() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_the_architecture_has_these_layers_and_lists_each_module_and_folder() -> None:
    tree, lines = [block.text for block in blocks_of("docs/architecture.md") if block.language == "text"]
    layers = [[f"tuning.{name.removesuffix('.py')}" for name in line.split(", ")] for line in lines.splitlines()]
    assert layers == LAYERS[: len(layers)]
    parts = [path.relative_to(ROOT).parts for path in MODULES.values()]
    assert {p[1] if len(p) == 2 else f"{p[1]}/" for p in parts} <= set(
        re.findall(r"^  ([\w.]+/?) ", tree, re.MULTILINE)
    )
