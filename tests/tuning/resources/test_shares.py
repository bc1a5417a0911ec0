"""tuning.resources.shares: what `auto` comes to, once; and settings that nothing here could hold."""

from collections.abc import Sequence

import pytest

from core.config import TrialConfig
from core.data.corpus import Corpus
from core.errors import ConfigError
from tests.support.corpora import tiny_corpus
from tests.support.study_configs import plan
from tuning.resources.gpu import GIB, Gpu, Probed
from tuning.resources.machine import Machine, Shares
from tuning.resources.shares import GPU_SHARE, settled
from tuning.space.load import load_space

AUTO = Shares(gpus_per_trial=1.0, auto=True)
TWO_GPUS = Machine(cpus=8, gpus=2, gpu_list=(Gpu(name="A", bytes=int(80 * GIB)), Gpu(name="B", bytes=int(24 * GIB))))


def test_auto_probes_the_heaviest_settings_and_keeps_what_it_chose() -> None:
    asked: list[TrialConfig] = []

    def probe(configs: Sequence[TrialConfig], corpus: Corpus) -> Probed:
        asked.extend(configs)
        return Probed(peak_bytes=int(2 * GIB), step_seconds=0.01)

    shares, choice = settled(AUTO, plan(), TWO_GPUS, tiny_corpus(), {}, probe)
    assert max(config.hidden_dim for config in asked) == 192
    assert choice is not None
    assert (shares.gpus_per_trial, shares.auto, choice.share) == (0.25, False, 0.25)  # 8 cores for 2 GPUs
    again, known = settled(AUTO, plan(), TWO_GPUS, tiny_corpus(), {GPU_SHARE: choice.to_dict()}, None)
    assert (again, known) == (shares, choice)


def test_a_share_that_was_given_stays() -> None:
    given = Shares(gpus_per_trial=0.5)
    assert settled(given, plan(), TWO_GPUS, tiny_corpus(), {}) == (given, None)


@pytest.mark.parametrize(
    ("shares", "machine", "where"),
    [
        (Shares(), Machine(cpus=8, gpus=0, memory_bytes=2**34), "this machine has 17.2 GB"),
        (Shares(gpus_per_trial=0.5), TWO_GPUS, "the largest GPU has 85.9 GB"),
    ],
)
def test_settings_that_no_memory_holds_are_refused_before_the_search(
    shares: Shares, machine: Machine, where: str
) -> None:
    huge = load_space("notebook", ["hidden_dim=int(64,8192,log)", "n_layers=8", "bidirectional=true"])
    with pytest.raises(ConfigError, match=f"hidden_dim 8192 with n_layers 8 .* and {where}: search smaller settings"):
        settled(shares, plan(space=huge), machine, tiny_corpus(), {})


def test_auto_needs_a_gpu_here_to_try() -> None:
    elsewhere = Machine(cpus=8, gpus=2)  # logical ones, or those of other machines
    with pytest.raises(ConfigError, match=r"--gpus-per-trial auto needs a GPU on this machine to try: pass a share"):
        settled(AUTO, plan(), elsewhere, tiny_corpus(), {})
