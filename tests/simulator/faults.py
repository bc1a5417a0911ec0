"""Draw a study and its faults from a seed, run it, and compare its end with that of the undisturbed study."""

import dataclasses
import random
from collections import Counter
from functools import cache
from unittest.mock import patch

from tests.simulator.world import DigestSampler, Truth, World
from tests.support.golden_files import first_unlike
from tuning.scheduling.asha import Asha
from tuning.scheduling.budget import Budget
from tuning.scheduling.samplers import SAMPLERS, SamplerInfo
from tuning.scheduling.study_config import StudyConfig
from tuning.space.load import load_space
from tuning.space.space import Space

MAX_COMMANDS = 12
"""Commands with faults; the next one has none."""
KILLS = ("kill before a write", "kill in a write", "kill after a write")

DIGEST = SamplerInfo(make=lambda config, seed: DigestSampler(seed), learns=True)


@cache
def space(choices: int) -> Space:
    """Return a space with few choices, so that duplicates occur."""
    fixed = ["lstm_dropout=0", "fc_dropout=0.5", "learning_rate=0.5", "freeze_embedding=false"]
    return load_space("notebook", [f"n_layers=int(1,{choices})", f"hidden_dim=int(16,{16 + 3 * choices})", *fixed])


def draw_study(rng: random.Random) -> tuple[StudyConfig, Truth, bool]:
    """Draw a study, what its trials yield, and whether trials that run out of memory run again."""
    epochs = rng.choice((1, 2, 4, 5, 9))
    rule = Asha(grace=rng.randint(1, 2), reduction=rng.randint(2, 4)) if rng.random() < 0.9 else None
    budget = Budget(
        target=rng.choice((None, None, None, 0.75)), patience_trials=rng.choice((None, None, None, rng.randint(2, 8)))
    )
    config = StudyConfig(
        space=space(rng.randint(1, 4)),
        n_trials=rng.randint(1, 14),
        epochs=epochs,
        parallelism=rng.choice((1, 2, 3, 8)),
        lag=rng.choice((0.0, 0.5, 2.0, 8.0)),
        seed=rng.randrange(1000),
        stopping=rule,
        sampler="digest",
        startup=2,
        budget=budget,
    )
    truth = Truth(
        seed=rng.randrange(10**9),
        epochs=epochs,
        failing=rng.choice((0.0, 0.1, 0.3)),
        too_large=rng.choice((0.0, 0.0, 0.2)),
        impatient=rng.choice((0.0, 0.0, 0.3)),
    )
    return config, truth, rng.random() < 0.8


def run_seeds(seeds: range) -> tuple[list[str], Counter[str]]:
    """Run some seeds; return the differences and the number of each fault."""
    counts: Counter[str] = Counter()
    found = []
    for seed in seeds:
        try:
            difference = run_seed(seed, counts)
        except Exception as error:
            difference = f"seed {seed}: {type(error).__name__}: {error}"
        if difference is not None:
            found.append(difference)
    return found, counts


@patch.dict(SAMPLERS, {"digest": DIGEST})
def run_seed(seed: int, counts: Counter[str]) -> str | None:
    """Run the study of a seed with its faults; return the first difference from the undisturbed one."""
    rng = random.Random(seed)
    config, truth, retry_oom = draw_study(rng)
    counts["study"] += 1
    expected = World(config, truth, retry_oom, random.Random(0))
    assert expected.command(1), f"seed {seed}: the undisturbed study does not end"
    world = World(config, truth, retry_oom, rng)
    disturb(world, rng)
    counts.update(world.found)
    counts.update(world.disk.found)
    end_state = expected.end_state()
    counts.update({f"{state} trial": n for state, n in Counter(row[3] for row in end_state[0]).items()})
    counts["repeated trial"] += sum(row[2].startswith("copy of") for row in end_state[0])
    for wanted, got in zip(end_state, world.end_state(), strict=True):
        if wanted != got:
            first = first_unlike(wanted, got)
            return f"seed {seed}: expected {wanted[first : first + 1]}\n  found {got[first : first + 1]}"
    return None


def disturb(world: World, rng: random.Random) -> None:
    """Run the study to its end by commands with faults."""
    whole = world.config
    for _ in range(rng.randint(0, MAX_COMMANDS)):
        world.config = whole
        if rng.random() < 0.15:  # the study is made longer afterwards
            world.config = dataclasses.replace(whole, n_trials=rng.randint(1, whole.n_trials))
            world.found["fewer trials first"] += 1
        if rng.random() < 0.15:
            world.config = dataclasses.replace(world.config, budget=Budget(target=0.6, patience_trials=3))
            world.found["another budget first"] += 1
        if rng.random() < 0.5:
            world.disk.faults = {rng.randint(1, 80): rng.choice((*KILLS, *KILLS, "full disk"))}
            world.disk.share = rng.random()
        world.command(
            rng.choice((1, 2, 3, 8)),
            death_rate=rng.choice((0.0, 0.0, 0.1)),
            lost_checkpoints=rng.choice((0.0, 0.3)),
            stop_at=rng.uniform(0, 40) if rng.random() < 0.4 else float("inf"),
            noise=rng.choice((0.0, 0.5, 2.0)),
        )
        world.disk.faults = {}
    world.config = whole
    assert world.command(rng.choice((1, 2, 8)), death_rate=0.05), "the study does not end"
