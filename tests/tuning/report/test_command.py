"""tuning.report.command: the page is written as a whole, and again while the study runs."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.inputs.recorded_study import record_study
from core.errors import UserError
from core.io.checked_folder import CHECKSUMS
from tuning.journal.file import study_lock
from tuning.journal.folder import JOURNAL
from tuning.report import command as verb
from tuning.report.chart_data import ChartData
from tuning.report.figures import Figure, figures


def write(folder: Path, *, watch: bool = False) -> None:
    """Make report.html."""
    verb.write_report(folder, folder / "report.html", None, cache_dir=folder, watch=watch, command="x")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "^--images must be a folder, or a new one, got '.*/file'$"),
        ("x" * 300, ": the name is too long"),
        ("s", "cannot write .*/s: it is in the folder of a study; choose another folder"),
        ("s/charts", "cannot write .*/s/charts: it is in the folder of a study; choose another folder"),
        ("model", "cannot write .*/model: it is a saved model; choose another folder"),
    ],
)
def test_images_that_cannot_be_written_are_refused_before_the_page_is_written(
    tmp_path: Path, name: str, said: str
) -> None:
    record_study(tmp_path / "s", trials=3)
    (tmp_path / "file").touch()
    (tmp_path / "model").mkdir()
    for each in (CHECKSUMS, "config.json"):
        (tmp_path / "model" / each).touch()
    with pytest.raises(UserError, match=said):
        verb.write_report(tmp_path / "s", tmp_path / "p.html", tmp_path / name, cache_dir=None, watch=False, command="")
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize("out", ["s/study.journal", "s/new.html", "link/page.html"])
def test_the_files_of_a_study_are_not_replaced(tmp_path: Path, out: str) -> None:
    record_study(tmp_path / "s", trials=3)
    (tmp_path / "link").symlink_to("s")
    before = (tmp_path / "s" / JOURNAL).read_bytes()
    with pytest.raises(
        UserError, match=rf"cannot write .*{out}: it is in the folder of a study; choose another folder"
    ):
        verb.write_report(tmp_path / "s", tmp_path / out, None, cache_dir=None, watch=False, command="")
    assert (tmp_path / "s" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize("out", ["tickets.csv", "model.safetensors", "-"])
def test_a_page_replaces_no_file_of_another_kind(tmp_path: Path, out: str) -> None:
    record_study(tmp_path / "s", trials=3)
    with pytest.raises(UserError, match=rf"cannot write .*{out}: the name of a report ends in .html; choose"):
        verb.write_report(tmp_path / "s", tmp_path / out, None, cache_dir=None, watch=False, command="")


@pytest.mark.slow
def test_the_images_are_the_figures_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study is read and drawn once."""
    record_study(tmp_path / "s", trials=3)
    drawn: list[dict[str, Figure]] = []
    written: list[dict[str, Figure]] = []

    def draw(data: ChartData) -> dict[str, Figure]:
        drawn.append(figures(data))
        return drawn[-1]

    monkeypatch.setattr(verb, "figures", draw)
    monkeypatch.setattr(verb, "write_images", lambda found, folder: written.append(found))
    verb.write_report(tmp_path / "s", tmp_path / "p.html", tmp_path, cache_dir=None, watch=False, command="")
    assert len(drawn) == 1
    assert written == drawn


@pytest.mark.slow
def test_watching_makes_the_page_again_until_the_study_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    record_study(folder, trials=6, running=2)
    seen: list[str] = []

    def nap(seconds: float) -> None:
        seen.append((folder / "report.html").read_text())
        if len(seen) == 2:
            record_study(folder, trials=6)
            driver.__exit__(None, None, None)

    monkeypatch.setattr("time.sleep", nap)
    monkeypatch.setattr(verb, "PAUSE", 0)
    driver = study_lock(folder, searches=True)
    driver.__enter__()
    write(folder, watch=True)
    assert len(seen) == 2
    assert all('data-watch="5"' in page and "2 not ended" in page for page in seen)
    last = (folder / "report.html").read_text()
    assert "data-watch" not in last
    assert "2 not ended" not in last
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}/report.html is updated every 5 s while the study runs; press Ctrl-C to stop",
        f"report written to {folder}/report.html",
    ]


def test_a_page_that_takes_long_is_made_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most a tenth of the time; the end of the study is noticed after 5 s."""
    now, made = 0.0, list[tuple[float, int | None]]()

    def make(*_: object, every_seconds: int | None = None, **__: object) -> tuple[bytes, dict[str, Figure]]:
        nonlocal now
        made.append((now, every_seconds))
        now += 2.5
        return b"", {}

    def nap(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 40:
            driver.close()

    monkeypatch.setattr(verb, "time", SimpleNamespace(monotonic=lambda: now, sleep=nap))
    monkeypatch.setattr(verb, "page", make)
    monkeypatch.setattr(verb, "vega_bundle", str)
    with ExitStack() as driver:
        driver.enter_context(study_lock(tmp_path, searches=True))
        write(tmp_path, watch=True)
    assert made == [(0.0, 5), (25.5, 23), (43.0, None)]
    assert "is updated every 23 s while" in capsys.readouterr().out


def test_a_watch_names_the_driver_on_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This host cannot know whether that process has been killed."""
    monkeypatch.setattr(verb, "page", lambda *_, **__: (b"", {}))
    monkeypatch.setattr(verb, "vega_bundle", str)
    monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "driver.json").unlink())
    (tmp_path / "driver.json").write_text('{"pid": 7, "host": "elsewhere", "started": null, "searches": true}')
    write(tmp_path, watch=True)
    assert capsys.readouterr().out.splitlines()[1] == (
        "it counts as running because of process 7 on elsewhere; press Ctrl-C if that process was killed"
    )


@pytest.mark.slow
def test_a_watch_that_is_interrupted_leaves_a_page_that_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its images."""
    record_study(tmp_path / "s", trials=3)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    written: list[Path] = []
    monkeypatch.setattr(verb, "write_images", lambda found, folder: written.append(folder))
    page, images = tmp_path / "p.html", tmp_path / "images"
    with study_lock(tmp_path / "s", searches=True), pytest.raises(KeyboardInterrupt):
        verb.write_report(tmp_path / "s", page, images, cache_dir=tmp_path, watch=True, command="x")
    assert "data-watch" not in page.read_text()
    assert images in written


@pytest.mark.slow
def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "s"
    record_study(folder, trials=3)
    write(folder)
    old = (folder / "report.html").read_bytes()
    record_study(folder, trials=6)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*report\.html: the disk is full"):
        write(folder)
    assert (folder / "report.html").read_bytes() == old
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "study.journal"]


def test_a_link_to_a_file_of_another_kind_is_not_followed(tmp_path: Path) -> None:
    record_study(tmp_path / "s", trials=3)
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "s" / "report.html").symlink_to(tmp_path / "notes")
    with pytest.raises(UserError, match=r"cannot write .*notes: the name of a report ends in \.html"):
        write(tmp_path / "s")
    assert (tmp_path / "notes").read_text() == "mine"
