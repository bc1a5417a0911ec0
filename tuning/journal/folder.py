"""The folder of a study on disk: found by name, recognised by its journal; and the data files that a study names.

The command line reads this module for every command, so it imports no heavy modules.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigError
from core.io.atomic import expand_user, file_mode

JOURNAL = "study.journal"
STUDY_FORMAT = 10
"""Version of the names and the layout of a journal's attributes."""


def study_folder(study: str, results: Path) -> Path:
    """Return the folder of a study, which is given by its name under `results`, its folder, or its journal.

    Its last part is the name of the study, also for `.` and `..`.

    Raises:
        ConfigError: The text is empty, or has the home folder of an unknown user.
    """
    if not study:
        raise ConfigError("STUDY must not be empty; pass the name or the folder of a study")
    if Path(study).name == JOURNAL and stat.S_ISREG(file_mode(expand_user(study))):
        folder = expand_user(study).parent
    else:
        is_folder = os.sep in study or file_mode(Path(study, JOURNAL))
        folder = expand_user(study) if is_folder else results / study
    return folder.resolve() if folder.name in ("", "..") else folder


def is_in_study(path: Path) -> bool:
    """Return whether a path is directly in the folder of a study, whose files no other output may replace.

    Links are followed.
    """
    return file_mode(Path(os.path.realpath(path)).parent / JOURNAL) != 0


def absolute_data_path(name: str) -> str:
    """Make the path of a dataset or of word vectors absolute; return a name unchanged.

    A name is never a path, even if the current folder has a file of this name; nor is an empty text.

    Raises:
        ConfigError: The path has the home folder of an unknown user.
    """
    from core.data.tokenizer import AUTO
    from core.data.vectors import VECTOR_NAMES

    if name in ("", "snippets", "mr", AUTO, *VECTOR_NAMES):
        return name
    prefix = "mr:" if name.startswith("mr:") else ""
    path = expand_user(name.removeprefix(prefix))
    return f"{prefix}{path.absolute()}" if prefix or file_mode(path) or len(path.parts) > 1 else name


def missing_files(data: Mapping[str, object]) -> list[str]:
    """Return those of `dataset` and `vectors` that are the path of a file that does not exist.

    `data` has the arguments of load_corpus as in a study's spec: paths are absolute, and names are not.
    """
    paths = {name: Path(str(data.get(name, "")).removeprefix("mr:")) for name in ("dataset", "vectors")}
    return [name for name, path in paths.items() if path.is_absolute() and not file_mode(path)]
