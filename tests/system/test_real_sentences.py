"""Tokens of the real sentences."""

import importlib
import json
import re
import subprocess
import sys

import pytest
from nltk.tokenize import word_tokenize

from core.data.corpus import ReadOptions
from core.data.datasets import resolve_dataset
from core.data.tokenizer import apply_regexes, tokenize, tokenizer_as_regexes
from core.io import cache
from tests.support.real_data import MR, needs_mr


@pytest.fixture(scope="module", params=["snippets", pytest.param("mr", marks=needs_mr)])
def texts(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "snippets":
        return resolve_dataset("snippets", ReadOptions(), cache.default_dir()).read().texts
    # Every fourth: apart from punctuation and spaces, nearly all of them are snippets.
    return resolve_dataset(f"mr:{MR}", ReadOptions(), cache.default_dir()).read().texts[::4]


def test_every_real_sentence_has_nltks_tokens(texts: list[str]) -> None:
    rule = json.loads(json.dumps(tokenizer_as_regexes([], "english")))
    steps = [(importlib.import_module(engine).compile(old, flags), new) for engine, old, flags, new in rule["steps"]]
    for text in texts:
        expected = tokenize(text, "english")
        if not re.search(r"[\w'’]\.[\"'”’)\]]*\s", text):  # NLTK takes the text for one sentence
            assert expected == word_tokenize(text.lower().replace("’", "'"), preserve_line=True)
        assert apply_regexes(steps, text.lower()) == expected


def test_afterwards_importing_nltk_gives_all_of_it() -> None:
    code = (
        "import sys; from core.data.tokenizer import tokenize; tokens = tokenize('No, it can\\'t.', 'english'); "
        "assert not [name for name in sys.modules if name.startswith('nltk')]; "
        "import nltk, nltk.tokenize.destructive; "
        "assert tokens == nltk.word_tokenize('no, it can\\'t.', preserve_line=True); "
        "assert tokens == ['no', ',', 'it', 'ca', \"n't\", '.']; "
        "assert nltk.tokenize.destructive.NLTKWordTokenizer is nltk.tokenize.NLTKWordTokenizer"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
