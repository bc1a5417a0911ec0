"""benchmarks.pictures: the README's progress display shows the middle of a search, and loads no other file."""

import html
import re
from pathlib import Path

from benchmarks.inputs.recorded_study import record_study
from benchmarks.pictures import progress_picture


def test_the_progress_picture_shows_a_search_on_its_way_as_text(tmp_path: Path) -> None:
    record_study(tmp_path / "study", trials=24)
    picture = progress_picture(tmp_path / "study")
    text = html.unescape(re.sub(r"<[^>]*>", "", picture)).replace("\N{NO-BREAK SPACE}", " ")
    done, running = re.findall(r"(\d+)/24 trials: .* (\d+) running", text)[0]
    assert 0 < int(done) < 24
    assert int(running) > 0
    assert "best so far: 0." in text
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", picture)
