"""The verb `plan`: what `run` would do with the same options, how long it takes, and what it needs."""

from collections.abc import Callable

from core.data.load import load_corpus
from core.errors import ConfigError
from core.nn.model_size import checkpoint_bytes
from tuning.forecast.command import RAY_IN_A_WORKER_BYTES, Outlook, share_text
from tuning.forecast.probe import PROBE_SECONDS, probe
from tuning.forecast.simulation import forecast
from tuning.journal.records import attributes_of, states_of
from tuning.resources.allocation import heaviest, settled
from tuning.resources.machine import Machine
from tuning.run_options import RunOptions, search_plan
from tuning.scheduling.warm_start import with_knowledge


def outlook(options: RunOptions, say: Callable[[str], None]) -> Outlook:
    """Probe the search for half a minute, and forecast it.

    Args:
        options: of `run`.
        say: told what is going on.

    Raises:
        UserError: what `run` would refuse before it opens the study; or a process of the probe died.
    """
    if options.address is not None:
        raise ConfigError("plan tries settings on this machine and knows no other: leave --address out")
    machine = Machine.here()
    fits = options.shares.fit(machine)
    plan = search_plan(options, fits)
    corpus = load_corpus(**options.data, cache_dir=options.cache_dir, progress=say)
    shares, choice = settled(options.shares, plan, machine, corpus, attributes_of(options.folder))
    if choice is not None:
        say(str(choice))
        fits = shares.fit(machine)
        plan = search_plan(options, fits)
    if options.warm_start is not None:
        plan, _ = with_knowledge(plan, options.folder, options.warm_start, corpus.fingerprint)
    workers = min(fits, options.workers or fits, plan.n_trials)
    heavy = heaviest(plan.space, **plan.settings)
    # The probe has one GPU: as many processes as share it.
    side_by_side = min(workers, int(1 / shares.gpus_per_trial + 1e-9)) if shares.gpus_per_trial else workers
    say(f"trying settings for {PROBE_SECONDS:.0f} s, {side_by_side} at once")
    found = probe(
        plan,
        heavy,
        options.data,
        options.cache_dir,
        side_by_side=side_by_side,
        threads=shares.cpus_per_trial,
        device="cuda:0" if shares.gpus_per_trial else "cpu",
        seconds=PROBE_SECONDS,
    )
    shape = (len(corpus.words), corpus.embedding_dim, len(corpus.classes))
    checkpoint = max(checkpoint_bytes(config, *shape) for config in heavy)
    done = sum(state != "RUNNING" for state in states_of(options.folder))
    return Outlook(
        name=options.folder.name,
        plan=plan,
        done=min(done, plan.n_trials),
        workers=workers,
        share=share_text(shares.cpus_per_trial, shares.gpus_per_trial),
        forecast=forecast(plan, found.costs, workers, min(done, plan.n_trials)),
        probed=len(found.costs.own) + len(found.costs.others),
        probe_seconds=found.seconds,
        # Steps alone hold neither the best weights nor, from a GPU, what goes to the disk: at most a checkpoint.
        worker_bytes=found.peak_bytes + checkpoint + RAY_IN_A_WORKER_BYTES,
        memory_bytes=machine.memory_bytes,
        checkpoint_bytes=checkpoint,
        budget_seconds=options.budget.seconds,
    )
