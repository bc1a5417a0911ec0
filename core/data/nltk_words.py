"""NLTK's word tokenizer without the rest of NLTK.

`import nltk` runs every part of the package and takes over a second, more than all else that `sentune predict` does
before its first sentence. The tokenizer needs three small modules of it. They are imported beneath stand-ins for
their two packages, so that what runs is the installed NLTK's own code, whatever its version.
"""

import importlib
import importlib.util
import sys
from typing import Any

_PACKAGES = ("nltk", "nltk.tokenize")
_HOME = "nltk.tokenize.destructive"


def word_tokenizer() -> Any:
    """A new `NLTKWordTokenizer`: what `nltk.word_tokenize` splits each sentence with."""
    if "nltk" in sys.modules:
        return importlib.import_module(_HOME).NLTKWordTokenizer()
    try:
        return _alone().NLTKWordTokenizer()
    except (ImportError, AttributeError):  # an NLTK whose modules need what their package sets up
        return importlib.import_module(_HOME).NLTKWordTokenizer()


def _alone() -> Any:
    """The module, imported without running its packages; afterwards `import nltk` does what it always does."""
    try:
        for name in _PACKAGES:
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            sys.modules[name] = importlib.util.module_from_spec(spec)
        return importlib.import_module(_HOME)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "nltk"]:
            del sys.modules[name]
