"""The archive of MR, for tests on real sentences."""

import os
from pathlib import Path

import pytest

_NEXT_TO_THE_CHECKOUT = Path(__file__).parents[3] / "shared" / "data"
MR = Path(os.environ.get("SENTUNE_DATA", _NEXT_TO_THE_CHECKOUT)) / "rt-polaritydata.tar.gz"
needs_mr = pytest.mark.skipif(not MR.exists(), reason=f"no {MR.name}: set SENTUNE_DATA to its folder")
