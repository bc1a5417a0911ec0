"""Plain Optuna on the task of benchmarks.peers.compare: TPE, the median pruner, one trial at a time on two threads."""

import time

import optuna
import torch
from peer_task import FOLDER, SECONDS, answer
from plain_lstm import Sentences, predictor, suggest, train


def main():
    torch.set_num_threads(2)
    sentences, best = Sentences(FOLDER), {"accuracy": -1.0}
    deadline = time.monotonic() + SECONDS

    def objective(trial):
        settings = suggest(trial)

        def report(epoch, accuracy):
            trial.report(accuracy, epoch)
            return trial.should_prune()

        weights, accuracy = train(settings, sentences, report, deadline)
        if accuracy > best["accuracy"]:
            best.update(accuracy=accuracy, weights=weights, settings=settings)
        if trial.should_prune():
            raise optuna.TrialPruned
        return accuracy

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, timeout=SECONDS)
    torch.save(best["weights"], FOLDER / "model.pt")
    answer(
        predictor(best["settings"], best["weights"], sentences),
        FOLDER / "model.pt",
        trials=len(study.trials),
        version=f"Optuna {optuna.__version__}",
        chosen=str(best["settings"]),
        texts=sentences.test,
    )


if __name__ == "__main__":
    main()
