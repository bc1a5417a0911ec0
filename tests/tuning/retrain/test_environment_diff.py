"""tuning.retrain.environment_diff: changes since the search."""

import dataclasses
from typing import Any

from core.nn.environment import runtime_environment
from tests.support.corpora import tiny_corpus
from tests.support.trial_records import record
from tuning.retrain.environment_diff import (
    changes_since,
    data_changes,
    environment_changes,
    environment_now,
    environment_of,
    retraining_notes,
)

SPEC: dict[str, Any] = {
    "fingerprint": "0" * 64,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "versions": {"torch": "2.9.0", "sentune": "0.1.0", "optuna": "4.6"},
}
NOW = {"torch": "2.9.0", "sentune": "0.1.0", "threads": 1, "device": "cpu", "precision": "fp32", "code": "aa"}


def lines(was: dict[str, Any], **now: Any) -> list[str]:
    return [str(change) for change in environment_changes(was, NOW | now)]


def test_nothing_changed_is_no_line() -> None:
    own = record(0, environment={"code": "aa", "before_resume": {"code": "bb"}})
    assert lines(environment_of(SPEC, [own], own)) == []


def test_a_value_cannot_control_a_terminal() -> None:
    assert lines({"device": "\x1b[2Jevil\nX"}) == [r"device \x1b[2Jevil\nX, now cpu"]


def test_each_changed_dependency_is_named_with_both_values() -> None:
    own = record(0, environment={"code": "aa", "cpu_capability": "AVX2"})
    was = environment_of(SPEC, [own], own)
    assert lines(was, threads=2, precision="bf16", torch="2.10.0", code="bb", cpu_capability="AVX512", device="X") == [
        "torch 2.9.0, now 2.10.0",
        "threads 1, now 2",
        "device cpu, now X",
        "precision fp32, now bf16",
        "training code aa, now bb",
        "CPU capability AVX2, now AVX512",
    ]


def test_what_was_not_recorded_is_not_compared() -> None:
    own = record(0, environment={"torch": "2.9.0"})
    assert lines(environment_of(SPEC, [own], own), code="bb", cpu="new") == []


def test_a_gpu_without_a_name_is_any_gpu_and_no_cpu() -> None:
    """A study without a complete trial has recorded only that it used one."""
    was = environment_of(SPEC | {"device": "cuda"}, [], record(0, state="PRUNED"))
    assert lines(was, device="NVIDIA H100 80GB HBM3") == []
    assert lines(was) == ["device cuda, now cpu"]
    assert lines(was | {"device": "NVIDIA A100"}, device="NVIDIA H100") == ["device NVIDIA A100, now NVIDIA H100"]


def test_a_stopped_trial_takes_the_machine_of_one_that_ended() -> None:
    stopped = record(0, state="PRUNED")
    ended = record(1, environment={"code": "bb", "cpu": "old"})
    assert lines(environment_of(SPEC, [stopped, ended], stopped)) == ["training code bb, now aa"]


def test_another_build_of_torch_is_a_change_if_the_build_was_recorded() -> None:
    """The spec has the package's version, which lacks the build of a wheel with CUDA."""
    cuda = "2.9.0+cu130"
    assert lines(environment_of(SPEC, [], record(0, state="PRUNED")), torch=cuda) == []
    own = record(0, environment={"torch": cuda})
    assert lines(environment_of(SPEC, [own], own), torch=cuda) == []
    assert lines(environment_of(SPEC, [own], own), torch="2.9.0+cpu") == ["torch 2.9.0+cu130, now 2.9.0+cpu"]


def test_what_is_compared_is_what_training_records() -> None:
    now = environment_now("fp32", 2, "cpu")
    assert runtime_environment("fp32", 2, "cpu").items() <= now.items()
    assert {"torch", "sentune", "threads", "precision", "device", "cpu", "cpu_capability", "code"} <= now.keys()


def test_the_part_of_the_data_that_changed_is_named() -> None:
    was = {"data": {"sha256": "a" * 64}, "tokenizer": "nltk-3.9.1", "vectors": None, "split": {"rule": "80/10/10"}}
    now = {"data": {"sha256": "b" * 64}, "tokenizer": "nltk-3.10.4", "vectors": None, "split": {"rule": "80/10/10"}}
    corpus = dataclasses.replace(tiny_corpus(), fingerprint="1" * 64, source={"inputs": now})
    assert [str(change) for change in data_changes(SPEC, was, corpus)] == [
        "data sha256 aaaaaaaaaaaa..., now bbbbbbbbbbbb...",
        "tokenizer nltk-3.9.1, now nltk-3.10.4",
    ]
    vectors = dataclasses.replace(corpus, source={"inputs": {**was, "vectors": {"sha256": "c" * 64}}})
    assert "word vectors sha256 none, now cccccccccccc..." in map(str, data_changes(SPEC, was, vectors))
    parquet = dataclasses.replace(corpus, source={"inputs": {**was, "data": {"sha256": "a" * 64, "encoding": ""}}})
    text = {**was, "data": {"sha256": "a" * 64, "encoding": "utf-8"}}
    assert list(map(str, data_changes(SPEC, text, parquet))) == ["data encoding utf-8, now none"]
    same = dataclasses.replace(corpus, source={"inputs": was})
    (change,) = map(str, data_changes(SPEC, was, same))
    assert change.startswith("data fingerprint by another version of sentune ")
    assert change.endswith(", now 111111111111...")


def test_the_machine_of_the_epochs_before_a_trial_was_resumed_counts() -> None:
    """It may have been another node of a cluster, with other rounding errors."""
    first = {"code": "aa", "cpu": "old", "before_resume": {"code": "bb", "cpu": "older"}}
    own = record(0, environment={"code": "aa", "cpu": "new", "before_resume": first})
    corpus = dataclasses.replace(tiny_corpus(), fingerprint=SPEC["fingerprint"])
    now = NOW | {"cpu": "new"}
    assert list(map(str, changes_since({"spec": SPEC, "inputs": {}}, [own], own, corpus, now))) == [
        "CPU of earlier epochs old, now new",
        "training code of earlier epochs bb, now aa",
        "CPU of earlier epochs older, now new",
    ]


def test_the_same_fingerprint_is_the_same_data() -> None:
    assert data_changes(SPEC, {}, tiny_corpus()) == []


def test_what_cannot_match_is_said_first() -> None:
    own = record(0, state="PRUNED")
    assert retraining_notes(own, environment_changes({"threads": 1}, {"threads": 2})) == [
        "changed since the search: threads 1, now 2",
        "do not expect bit-identical results",
        "trial 0 has no digest of its final weights because it was not trained to its end; "
        "only its epochs are compared",
    ]
    whole = record(0, weights_sha256="ab")
    assert retraining_notes(whole, []) == []
