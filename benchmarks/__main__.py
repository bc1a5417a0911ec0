"""List the benchmarks, each with the question that it answers."""

from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    print("`python -m NAME --help` describes a benchmark; most have a short form, --quick.\n")
    listed = questions()
    width = max(map(len, listed))
    for name, question in listed.items():
        print(f"{name:{width}}  {question}")


def questions() -> dict[str, str]:
    """Return the first line of each script's docstring, by the name for `python -m`; nothing is imported."""
    found = {}
    for path in sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*/*.py")]):
        text = path.read_text()
        if '\nif __name__ == "__main__":\n' in text and path != FOLDER / "__main__.py":
            name = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
            found[name] = text.partition("\n")[0].strip('"')
    return found


if __name__ == "__main__":
    main()
