"""tuning.run_options, tuning.planned_search: which values a study fixes at its creation and keeps."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from core.data.load import load_corpus
from core.errors import ConfigError, DataError, UserError
from tests.support.corpora import tiny_corpus
from tests.support.studies import write_sentences
from tests.support.study_configs import configured, options, outcomes
from tuning.cli.app import app
from tuning.journal.folder import absolute_data_path
from tuning.journal.records import study_attributes
from tuning.journal.writer import open_study
from tuning.planned_search import check_search, data_of_study, plan_search
from tuning.resources.gpu import GIB, Gpu
from tuning.resources.machine import Machine, TrialResources
from tuning.run_options import RunOptions
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import Budget
from tuning.scheduling.study_config import StudyConfig, study_spec
from tuning.space.presets import PRESETS


def made(plan: StudyConfig, folder: Path) -> None:
    """A study of this plan."""
    with open_study(
        folder, json.loads(json.dumps(study_spec(plan, tiny_corpus(), {"dataset": "tiny"}, TrialResources())))
    ):
        pass


def bf16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr("tuning.planned_search.gains_from_bf16", lambda device: has)


def test_precision_is_that_of_the_machine_on_which_the_study_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bf16(monkeypatch, True)
    plan = configured(options(tmp_path))
    assert plan.precision == "bf16"
    assert configured(options(tmp_path, precision="fp32")).precision == "fp32"
    assert configured(options(tmp_path, address="ray://there")).precision == "fp32"  # its nodes are not asked
    made(plan, tmp_path / "s")
    bf16(monkeypatch, False)
    assert configured(options(tmp_path)).precision == "bf16"
    assert configured(options(tmp_path, name="other")).precision == "fp32"


def test_bf16_on_a_gpu_is_refused_and_auto_is_fp32(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"precision bf16 is for CPUs: on a GPU, .* in fp16; choose fp32"):
        configured(options(tmp_path, precision="bf16", gpus_per_trial="0.5"))
    assert configured(options(tmp_path, gpus_per_trial="0.5")).precision == "fp32"
    assert configured(options(tmp_path, precision="bf16")).precision == "bf16"


def test_auto_is_fp32_on_a_gpu_whatever_the_precision_of_a_study_on_the_cpu(tmp_path: Path) -> None:
    """The comparison of the specs then names the device."""
    made(configured(options(tmp_path, precision="bf16")), tmp_path / "s")
    assert configured(options(tmp_path)).precision == "bf16"
    assert configured(options(tmp_path, gpus_per_trial="0.5")).precision == "fp32"


def test_options_are_keyword_arguments_with_the_defaults_of_the_command_line() -> None:
    run = typer.main.get_command(app).commands["run"].make_context("run", ["x.csv", "--trials", "4"])  # type: ignore[attr-defined]
    here = RunOptions(dataset="x.csv", trials=4)
    given = {name: value or None if name == "overrides" else value for name, value in run.params.items()}
    assert given == {field.name: getattr(here, field.name) for field in dataclasses.fields(RunOptions)}
    assert (here.folder, here.resources, here.budget) == (Path("results/x-quick"), TrialResources(), Budget())


def test_random_vectors_are_always_trained_in_quick_and_default(tmp_path: Path) -> None:
    """Another choice by the user, and another space, are kept."""

    def searched(vectors: str, **changes: Any) -> set[str]:
        dimensions = options(tmp_path, **changes).space_for(vectors).dimensions
        return {dimension.name for dimension in dimensions} & {"freeze_embedding", "embedding_lr_scale"}

    for space in PRESETS.keys() - {"notebook"}:  # it is the notebook's, whatever the vectors are
        assert searched("none", space=space) == set()
    for space in ("quick", "default"):
        assert searched("glove-50d", space=space) == {"freeze_embedding", "embedding_lr_scale"}
    assert searched("none", space="notebook") == {"freeze_embedding"}
    for name in ("freeze_embedding", "freeze"):
        given = options(tmp_path, space="quick", overrides=[f"{name}=true"])
        assert given.space_for("none").fixed["freeze_embedding"] is True


def test_the_length_fits_the_data_and_stays_with_the_study(tmp_path: Path) -> None:
    auto: dict[str, Any] = {"epochs": "auto"}
    plan = configured(options(tmp_path, **auto), sentences=4_362)
    assert (plan.epochs, plan.epoch_sentences) == (16, None)
    assert configured(options(tmp_path, epochs="10"), sentences=4_362).epochs == 10
    made(configured(options(tmp_path, epochs="9", epoch_sentences="700")), tmp_path / "s")
    again = configured(options(tmp_path, **auto), sentences=4_362)
    assert (again.epochs, again.epoch_sentences) == (9, 700)
    made(again, tmp_path / "s")
    with pytest.raises(ConfigError, match="epochs 9, this command has 10"):
        made(configured(options(tmp_path, epochs="10")), tmp_path / "s")
    with pytest.raises(ConfigError, match="epoch_sentences 700, this command has 800"):
        made(configured(options(tmp_path, **auto, epoch_sentences="800")), tmp_path / "s")


def test_a_first_rung_after_the_last_epoch_is_refused(tmp_path: Path) -> None:
    assert options(tmp_path, epochs="4", grace=4).stopping_rule == Asha(grace=4)
    with pytest.raises(ConfigError, match="--grace must be at most --epochs, 4, got 5"):
        options(tmp_path, epochs="4", grace=5)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("stopping", "halving", "one of asha, none"),
        ("precision", "fp64", "one of auto, fp32, bf16"),
        ("storage", "", "a folder or a URI"),  # neither the current folder nor the default
        ("warm_start", "", "the name or the folder of a study"),
    ],
)
def test_a_value_that_is_none_is_refused(option: str, value: str, rule: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')} must be {rule}, got '{value}'"):
        options(tmp_path, **{option: value})


def test_the_rule_has_the_numbers_of_the_options(tmp_path: Path) -> None:
    assert configured(options(tmp_path)).stopping == Asha(grace=None, reduction=2)
    assert configured(options(tmp_path, grace=2, reduction=3)).stopping == Asha(grace=2, reduction=3)
    assert configured(options(tmp_path, stopping="none")).stopping is None


def test_parallelism_is_the_number_of_parallel_trials_of_the_machine_on_which_the_study_is_made(
    tmp_path: Path,
) -> None:
    """Two trials fit here. On a larger machine the study keeps its parallelism, and so its order."""
    made(configured(options(tmp_path)), tmp_path / "s")
    assert configured(options(tmp_path)).parallelism == 2
    assert configured(options(tmp_path), 16).parallelism == 2
    assert configured(options(tmp_path, name="other"), 16).parallelism == 16
    assert configured(options(tmp_path, parallelism=5)).parallelism == 5


def test_the_default_lag_is_two_epochs_and_grows_with_the_square_root_of_the_parallelism(tmp_path: Path) -> None:
    assert configured(options(tmp_path)).lag == 2.0
    assert configured(options(tmp_path, parallelism=16)).lag == 2.0
    assert configured(options(tmp_path, parallelism=64)).lag == 4.0
    assert configured(options(tmp_path, parallelism=1000)).lag == 15.8
    assert configured(options(tmp_path, lag=0.5)).lag == 0.5
    made(configured(options(tmp_path, lag=0.5)), tmp_path / "s")
    assert configured(options(tmp_path)).lag == 0.5


def test_a_study_keeps_the_encoding_that_was_guessed(tmp_path: Path) -> None:
    """It is no argument: a copy of the file may be in UTF-8 or Parquet, so commands with --dataset must not use it."""
    here = options(tmp_path)
    for encoding, kept in (("koi8-r", "koi8-r"), ("utf-8", None), ("", None)):
        source = {"tokenizer": "regex-1/unicode/lower", "vectors": "none", "inputs": {"data": {"encoding": encoding}}}
        corpus = dataclasses.replace(tiny_corpus(), source=source)
        spec = study_spec(configured(here), corpus, here.data, TrialResources())
        assert spec["data"]["encoding"] is None
        existing = {"spec": spec, "inputs": source["inputs"]}
        assert data_of_study(here, existing)["encoding"] == kept
        assert data_of_study(options(tmp_path, dataset="other.csv"), existing)["encoding"] is None
        assert data_of_study(options(tmp_path, encoding="cp1251"), existing)["encoding"] == "cp1251"
        given = {**existing, "spec": {"data": {**spec["data"], "encoding": "utf-16-le"}}}
        assert data_of_study(here, given)["encoding"] == "utf-16-le"


def test_a_study_records_tokenizer_and_vectors_that_were_chosen_and_keeps_them(tmp_path: Path) -> None:
    """Another version may choose otherwise for the same texts."""
    chosen = {"tokenizer": "regex-1/unicode/lower", "vectors": "glove-50d"}
    corpus = dataclasses.replace(tiny_corpus(), source=chosen)
    here = options(tmp_path)
    plan = configured(here)
    recorded = study_spec(plan, corpus, here.data, TrialResources())["data"]
    assert recorded == {**here.data, "tokenizer": "unicode", "vectors": "glove-50d"}
    assert (here.data["tokenizer"], here.data["vectors"]) == ("auto", "auto")
    existing = {"spec": {"data": recorded}}
    assert data_of_study(here, existing) == recorded
    assert data_of_study(here, {}) == here.data
    given = options(tmp_path, tokenizer="english", vectors="none")
    assert data_of_study(given, existing) == given.data
    column = options(tmp_path, split_column="auto")
    assert study_spec(plan, corpus, column.data, TrialResources())["data"]["split_column"] == "auto"
    assert data_of_study(column, existing)["split_column"] == "auto"


def test_a_split_column_besides_another_split_is_refused() -> None:
    assert RunOptions(split_column="part").data["split"] == "column"
    given = RunOptions(dataset="a.csv", split="70/15/15", split_column="part").data
    with pytest.raises(ConfigError, match="--split-column 'part' and split '70/15/15' exclude each other; leave out"):
        load_corpus(**given)


def test_vectors_that_auto_chooses_decide_what_is_searched(tmp_path: Path) -> None:
    rows = (f"{'很好看' if n % 2 else '不好看'}的电影{n},{n % 2}" for n in range(60))
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    here = RunOptions(dataset=str(tmp_path / "t.csv"), results=tmp_path, cache_dir=tmp_path / "cache")
    space = plan_search(here, None, 1, {}, lambda line: None).config.space
    assert "freeze_embedding" not in {dimension.name for dimension in space.dimensions}
    assert len(space.dimensions) == len(here.loaded_space.dimensions) - 2


@pytest.mark.parametrize(
    ("grace", "sentences", "length"), [(9, 8454, "8"), (17, 4362, "16"), (51, 100, "50"), (51, 1, "50")]
)
def test_a_grace_above_the_number_of_epochs_that_auto_chose_is_refused(
    tmp_path: Path, grace: int, sentences: int, length: str
) -> None:
    """No trial would be stopped. Before the data are read, the longest length of auto is the bound."""
    said = rf"--grace must be at most --epochs, {length} \(auto: [^)]+\), got {grace}"
    with pytest.raises(ConfigError, match=said):
        configured(options(tmp_path, epochs="auto", grace=grace), sentences=sentences)
    assert configured(options(tmp_path, epochs="auto", grace=grace - 1), sentences=sentences).stopping is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parallelism": 3}, "parallelism 2, this command has 3"),
        ({"lag": 0.0}, "lag 2.0, this command has 0.0"),
        ({"grace": 2}, "stopping.grace none, this command has 2"),
        ({"reduction": 4}, "stopping.reduction 2, this command has 4"),
        ({"stopping": "none"}, "stopping {.*}, this command has none"),
        ({"first_trials": "random"}, "first_trials .*portfolio.*, this command has none"),
    ],
)
def test_a_study_cannot_continue_in_another_order(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    made(configured(options(tmp_path)), tmp_path / "s")
    with pytest.raises(ConfigError, match=said):
        made(configured(options(tmp_path, **changes)), tmp_path / "s")


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_order_in_which_a_command_names_the_settings_changes_no_study(tmp_path: Path, sampler: str) -> None:
    """Draws follow the order of the dimensions, so a study keeps its own; another content is still refused."""
    (tmp_path / "a.yaml").write_text("settings:\n  hidden_dim: int(16, 64)\n  batch_size: [16, 32]\n")
    ranges = ["fc_dropout_twice=[true,false]", "class_weight=[none,balanced]"]
    given = {"space": str(tmp_path / "a.yaml"), "sampler": sampler, "first_trials": "random"}
    plan = configured(options(tmp_path, overrides=ranges, **given))
    made(plan, tmp_path / "s")
    (tmp_path / "a.yaml").write_text("settings:\n  batch_size: [16, 32]\n  hidden_dim: int(16, 64)\n")
    later = configured(options(tmp_path, overrides=ranges[::-1], target=0.9, **given))  # no part of the spec
    assert later.space.to_dict() == plan.space.to_dict()
    assert [trial.params for trial in outcomes(later, 9)] == [trial.params for trial in outcomes(plan, 9)]
    made(later, tmp_path / "s")
    with pytest.raises(ConfigError, match=r"space.dimensions.hidden_dim.distribution.attributes.high 64, .* has 65"):
        made(configured(options(tmp_path, overrides=["hidden_dim=int(16,65)", *ranges], **given)), tmp_path / "s")


def test_paths_are_kept_absolute_and_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    chosen = RunOptions(dataset="a.csv").data
    assert (chosen["dataset"], chosen["vectors"]) == (str(tmp_path / "a.csv"), "auto")
    chosen = RunOptions(dataset="mr:x.tar.gz", vectors="sub/v.vec", split_column="part").data
    assert (chosen["dataset"], chosen["vectors"]) == (f"mr:{tmp_path}/x.tar.gz", f"{tmp_path}/sub/v.vec")
    assert chosen["split"] == "column"
    assert RunOptions(split_column="").data["split"] == "column"


def test_names_of_data_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["snippets", "mr", "none", "fasttext", "glove-50d", "glove-100d", "glove-200d", "glove-300d"]
    for name in (*names, "mine.csv"):
        (tmp_path / name).mkdir()
    assert [absolute_data_path(name) for name in ("", *names)] == ["", *names]
    assert absolute_data_path("mine.csv") == str(tmp_path / "mine.csv")


def test_the_configuration_has_what_the_options_say(tmp_path: Path) -> None:
    given: dict[str, Any] = {"sampler": "random", "metric": "mcc", "patience": 3, "seed": 8}
    found = configured(options(tmp_path, no_baseline=True, **given))
    assert {name: getattr(found, name) for name in given} == given
    assert not found.baseline


def test_a_metric_that_is_undefined_on_the_data_is_refused_by_plan_too(tmp_path: Path) -> None:
    rows = [f"ticket number {n} about page {7 * n},{'ab'[n % 2]},train" for n in range(20)]
    rows += [f"ticket number {n} about page {7 * n},a,val" for n in range(20, 24)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label,part", *rows]))
    given: dict[str, Any] = {"dataset": str(tmp_path / "t.csv"), "split_column": "part", "vectors": "none"}
    here = options(tmp_path, **given, metric="macro_f1", cache_dir=tmp_path / "cache")
    remark = plan_search(here, None, 1, {}, lambda line: None).remark
    assert remark is not None
    assert remark.startswith("no validation sentence has the label 'b': ")
    here = dataclasses.replace(here, metric="roc_auc")
    with pytest.raises(DataError, match="the label 'b', so roc_auc is undefined; choose another --metric"):
        plan_search(here, None, 1, {}, lambda line: None)


def test_a_warm_start_that_does_not_exist_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study 'gone'"):
        check_search(options(tmp_path, warm_start="gone"), 1, {})
    made(configured(options(tmp_path)), tmp_path / "s")
    check_search(options(tmp_path, warm_start="gone"), 1, study_attributes(tmp_path / "s"))  # it has a copy


def test_the_share_that_auto_chose_decides_how_many_trials_run_in_parallel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(name="A", bytes=int(24 * GIB))
    monkeypatch.setattr("tuning.resources.profiling.probe_gpu", lambda configs, corpus: int(2 * GIB))
    file = write_sentences(tmp_path / "t.csv")
    here = options(tmp_path, dataset=str(file), vectors="none", gpus_per_trial="auto", cache_dir=tmp_path / "cache")
    search = plan_search(here, Machine(cpus=8, gpus=2, gpu_list=(gpu, gpu)), 2, {}, lambda line: None)
    assert (search.resources.gpus_per_trial, search.fits, search.config.parallelism) == (0.25, 8, 8)
