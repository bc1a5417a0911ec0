"""What all tests share."""

import sys

import pytest
from hypothesis import settings

from core.nltk_words import word_tokenizer
from tests.core.sentences import Tokenize

# A shared machine may pause any example for longer than Hypothesis's 200 ms.
settings.register_profile("sentune", deadline=None)
settings.load_profile("sentune")


@pytest.fixture(scope="module")
def alone() -> Tokenize:
    """The tokenizer imported as in a process that has not imported NLTK."""
    stashed = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "nltk"}
    try:
        tokenizer = word_tokenizer()
        assert "nltk" not in sys.modules
    finally:
        sys.modules.update(stashed)
    tokenize: Tokenize = tokenizer.tokenize
    return tokenize
