"""List every benchmark with the question that it answers."""

import ast
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    print("Run one of these as `python -m NAME`; --help describes it and most have --quick.")
    print("\n".join(listing(FOLDER)))


def listing(folder: Path) -> Iterator[str]:
    """Yield a heading for each folder of benchmarks and a line for each script, read without importing them."""
    folders = [folder, *sorted(path.parent for path in folder.glob("*/__init__.py"))]
    for each in folders:
        scripts = {path: tree for path in sorted(each.glob("*.py")) if is_script(tree := ast.parse(path.read_text()))}
        scripts.pop(folder / "__main__.py", None)
        if not scripts:
            continue
        yield f"\n{each.name}: {summary(ast.parse((each / '__init__.py').read_text()))}"
        width = max(len(module_name(folder, path)) for path in scripts)
        for path, tree in scripts.items():
            yield f"  {module_name(folder, path):{width}}  {summary(tree)}"


def is_script(tree: ast.Module) -> bool:
    """Return whether a module has a top-level `if __name__ == "__main__":`."""
    tests = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    return "__name__ == '__main__'" in tests


def summary(tree: ast.Module) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def module_name(folder: Path, path: Path) -> str:
    """Return the name for `python -m`."""
    return ".".join(path.relative_to(folder.parent).with_suffix("").parts)


if __name__ == "__main__":
    main()
