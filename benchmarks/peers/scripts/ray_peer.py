"""Plain Ray Tune on the task of benchmarks.peers.compare: OptunaSearch, ASHA, two trials at a time on one core each."""

import logging
import sys
import tempfile
from pathlib import Path

import ray
import torch
from peer_task import FOLDER, SECONDS, answer
from plain_lstm import Sentences, predictor, suggest, train
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


def define(trial):
    suggest(trial)


def trainable(settings, sentences):
    torch.set_num_threads(1)
    best = -1.0

    def report(epoch, accuracy):
        nonlocal best
        best = max(best, accuracy)
        tune.report({"accuracy": best, "epoch": epoch})
        return False

    train(settings, sentences, report)


def main():
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    sentences = Sentences(FOLDER)
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    with tempfile.TemporaryDirectory() as folder:
        found = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, sentences=sentences), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(define, metric="accuracy", mode="max", seed=0),
                scheduler=ASHAScheduler(time_attr="epoch", metric="accuracy", mode="max", max_t=sentences.epochs),
                num_samples=500,
                max_concurrent_trials=2,
                time_budget_s=SECONDS,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        for error in found.errors:
            print(error, file=sys.stderr)
        trials = [each for each in found if each.metrics and "accuracy" in each.metrics]
        settings = max(trials, key=lambda each: each.metrics["accuracy"]).config
        ray.shutdown()
    torch.set_num_threads(2)
    weights, accuracy = train(settings, sentences, lambda epoch, accuracy: False)
    print(f"retrained: {accuracy:.4f}", file=sys.stderr)
    torch.save(weights, FOLDER / "model.pt")
    answer(
        predictor(settings, weights, sentences),
        FOLDER / "model.pt",
        trials=len(trials),
        version=f"Ray {ray.__version__}",
        chosen=str(settings),
        texts=sentences.test,
    )


if __name__ == "__main__":
    main()
