"""tuning.resources.allocation: the heaviest configurations of a space, and their memory."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError
from core.nn.model_size import count_trainable_parameters, max_checkpoint_bytes, min_training_bytes
from core.training.learner import make_learner
from tests.support.corpora import tiny_corpus
from tests.support.study_configs import plan
from tuning.resources import profiling
from tuning.resources.allocation import GPU_SHARE, check_memory, heaviest_configs, resolve_resources
from tuning.resources.gpu import GIB, Gpu, choose_share
from tuning.resources.machine import Machine, TrialResources
from tuning.space.load import load_space

AUTO = TrialResources(cpus_per_trial=2, gpus_per_trial=1.0, auto=True)
TWO_GPUS = Machine(cpus=16, gpus=2, gpu_list=(Gpu(name="A", bytes=int(80 * GIB)), Gpu(name="B", bytes=int(24 * GIB))))


def test_the_corner_is_the_largest_of_everything_that_weighs() -> None:
    corner, *_ = heaviest_configs(load_space("default"), seed=1, epochs=2)
    assert (corner.n_layers, corner.hidden_dim, corner.batch_size) == (3, 512, 64)
    assert (corner.bidirectional, corner.pooling, corner.freeze_embedding) == (True, "attention", False)
    assert (corner.optimizer, corner.ema_decay, corner.seed) == ("adamw", 0.999, 1)


def test_the_notebooks_trial_is_looked_at_where_it_is_larger_than_the_space() -> None:
    small = load_space("notebook", ["hidden_dim=int(8,16)", "n_layers=1"])
    assert [config.hidden_dim for config in heaviest_configs(small)] == [16, 128]
    assert [config.hidden_dim for config in heaviest_configs(load_space("default"))] == [512]
    frozen = load_space("quick", ["freeze_embedding=true"])  # trained word vectors weigh more than wide layers
    assert [config.hidden_dim for config in heaviest_configs(frozen)] == [192, 128]


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "last", "n_layers": 3},
        {"pooling": "mean+max", "bidirectional": False, "n_layers": 2, "ema_decay": 0.9},
        {"pooling": "attention", "optimizer": "rmsprop", "freeze_embedding": True},
        {"pooling": "attention", "n_layers": 3, "ema_decay": 0.9, "freeze_embedding": True},
        {"optimizer": "rmsprop", "ema_decay": 0.9},
    ],
)
def test_weights_and_checkpoints_are_counted_as_the_model_has_them(settings: dict[str, object]) -> None:
    corpus = tiny_corpus()
    config = TrialConfig(hidden_dim=6).replace(**settings)
    learner = make_learner(config, corpus, "cpu")
    shape = (len(corpus.words), corpus.embedding_dim, len(corpus.classes))
    trained = learner.flat.numel() + (0 if config.freeze_embedding else learner.words.numel())
    assert count_trainable_parameters(config, *shape) == trained
    kept = sum(t.numel() * 4 for t in learner.state_tensors().values() if t.dtype == torch.float32)
    kept += 4 * learner.flat.numel() + (0 if config.freeze_embedding else 4 * learner.words.numel())  # the best epoch's
    assert max_checkpoint_bytes(config, *shape) == kept
    assert (
        min_training_bytes(config, *shape) == kept - 4 * trained + 4 * learner.flat.numel()
    )  # none of the best, a gradient


def test_settings_that_no_memory_here_holds_are_refused_with_what_would() -> None:
    configs = [TrialConfig(hidden_dim=8192, n_layers=8), TrialConfig()]
    with pytest.raises(
        ConfigError, match=r"hidden_dim 8192 with n_layers 8 .* needs \d+\.\d GB .* this machine has 24\.0 GB; "
    ):
        check_memory(configs, (20_000, 50, 2), 24_000_000_000, "this machine")
    check_memory(configs, (20_000, 50, 2), 0, "a machine that tells nothing")
    check_memory(configs[1:], (20_000, 50, 2), 24_000_000_000, "this machine")


def test_auto_probes_the_heaviest_settings_and_keeps_what_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[TrialConfig]] = []

    def probe(configs: Sequence[TrialConfig], corpus: Corpus) -> int:
        asked.append(configs)
        return int(2 * GIB)

    monkeypatch.setattr(profiling, "probe_gpu", probe)
    resources, choice = resolve_resources(AUTO, plan(), TWO_GPUS, tiny_corpus(), {})
    assert max(config.hidden_dim for config in asked[0]) == 192
    assert choice is not None
    assert (resources.gpus_per_trial, resources.auto, choice.share) == (
        0.25,
        False,
        0.25,
    )  # cores for 8 trials on 2 GPUs
    again, known = resolve_resources(AUTO, plan(), TWO_GPUS, tiny_corpus(), {GPU_SHARE: dataclasses.asdict(choice)})
    assert (again, known) == (resources, choice)
    small = dataclasses.replace(TWO_GPUS, gpu_list=(Gpu(name="small", bytes=int(8 * GIB)),))
    _, smaller = resolve_resources(AUTO, plan(), small, tiny_corpus(), {GPU_SHARE: dataclasses.asdict(choice)})
    assert smaller is not None
    assert (smaller.share, smaller.smallest_bytes) == (0.5, 8 * GIB)
    assert len(asked) == 1


def test_a_probe_that_ran_out_of_memory_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have used the GPU then."""
    monkeypatch.setattr(profiling, "probe_gpu", lambda configs, corpus: int(2 * GIB))
    full = choose_share(int(24 * GIB), TWO_GPUS.gpu_list, 8)
    _, choice = resolve_resources(AUTO, plan(), TWO_GPUS, tiny_corpus(), {GPU_SHARE: dataclasses.asdict(full)})
    assert choice is not None
    assert (choice.peak_bytes, choice.share) == (2 * GIB, 0.25)


def test_a_share_that_was_given_stays() -> None:
    given = TrialResources(gpus_per_trial=0.5)
    assert resolve_resources(given, plan(), TWO_GPUS, tiny_corpus(), {}) == (given, None)


@pytest.mark.parametrize(
    ("resources", "machine", "where"),
    [
        (TrialResources(), Machine(cpus=8, gpus=0, memory_bytes=2**34), "this machine has 17.2 GB"),
        (TrialResources(gpus_per_trial=0.5), TWO_GPUS, "the largest GPU has 85.9 GB"),
    ],
)
def test_settings_that_no_memory_holds_are_refused_before_the_search(
    resources: TrialResources, machine: Machine, where: str
) -> None:
    huge = load_space("notebook", ["hidden_dim=int(64,8192,log)", "n_layers=8", "bidirectional=true"])
    with pytest.raises(ConfigError, match=f"hidden_dim 8192 with n_layers 8 .* and {where}; choose smaller settings"):
        resolve_resources(resources, plan(space=huge), machine, tiny_corpus(), {})


def test_a_larger_range_in_another_case_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("""
settings:
  n_layers: int(1, 3)
  hidden_wide: {field: hidden_dim, range: "int(256, 512)", when: n_layers == 1}
  hidden_deep: {field: hidden_dim, range: "int(32, 64)", when: n_layers > 1}
""")
    found = heaviest_configs(load_space(str(path)), baseline=False)
    assert [(config.n_layers, config.hidden_dim) for config in found] == [(3, 64), (1, 512)]


def test_a_larger_range_whose_condition_depends_on_another_one_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("""
settings:
  n_layers: int(1, 3)
  bidirectional: {range: [true, false], when: n_layers == 1}
  hidden_dim: {range: "int(256, 512)", when: not bidirectional}
""")
    found = heaviest_configs(load_space(str(path)), baseline=False)
    assert [(config.n_layers, config.hidden_dim) for config in found] == [(3, 128), (1, 512)]
