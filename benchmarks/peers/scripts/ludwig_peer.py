"""Ludwig's hyperopt on the task of benchmarks.peers.compare.

An LSTM with the maximum of its states over time. With its last state, Ludwig reads what follows the padding, and none
of its trials learned. The ranges, the optimizer and the number of epochs are those of plain_lstm, but it stops after
five epochs without a gain.
"""

import copy
import json
import os
from importlib.metadata import version

import pandas as pd
import ray
from ludwig.api import LudwigModel
from ludwig.hyperopt.run import hyperopt
from ludwig.hyperopt.utils import substitute_parameters
from peer_task import FOLDER, SECONDS, answer, no_answer, read_rows
from plain_lstm import TRAINING_SENTENCES

CODES = {"train": 0, "val": 1, "test": 2}
"""Ludwig's codes of the splits."""
ENCODER = {
    "type": "rnn",
    "cell_type": "lstm",
    "reduce_output": "max",
    "embedding_size": 50,
    "pretrained_embeddings": str(FOLDER / "vectors.txt"),
}
RANGES = {
    "text.encoder.num_layers": {"space": "choice", "categories": [1, 2]},
    "text.encoder.state_size": {"space": "lograndint", "lower": 32, "upper": 193},
    "text.encoder.bidirectional": {"space": "choice", "categories": [True, False]},
    "text.encoder.dropout": {"space": "uniform", "lower": 0.0, "upper": 0.5},
    "text.encoder.fc_dropout": {"space": "uniform", "lower": 0.1, "upper": 0.6},
    "text.encoder.embeddings_trainable": {"space": "choice", "categories": [True, False]},
    "trainer.learning_rate": {"space": "loguniform", "lower": 0.001, "upper": 0.01},
    "trainer.batch_size": {"space": "choice", "categories": [16, 32, 50, 64]},
}
CONFIGURATION = {
    "input_features": [
        {"name": "text", "type": "text", "preprocessing": {"tokenizer": "space"}, "encoder": ENCODER},
    ],
    "output_features": [{"name": "label", "type": "category"}],
    "preprocessing": {"split": {"type": "fixed", "column": "split"}},
    "trainer": {
        "optimizer": {"type": "adam"},
        "validation_field": "label",
        "validation_metric": "accuracy",
    },
    "backend": {"type": "local"},
    "hyperopt": {
        "output_feature": "label",
        "metric": "accuracy",
        "goal": "maximize",
        "split": "validation",
        "search_alg": {"type": "optuna"},
        "executor": {
            "type": "ray",
            "num_samples": 500,
            "max_concurrent_trials": 2,
            "cpu_resources_per_trial": 1,
            "time_budget_s": SECONDS,
        },
        "parameters": RANGES,
    },
}


def main():
    rows = read_rows("tokens.csv")
    texts = [row["text"] for row in rows if row["split"] == "test"]
    table = pd.DataFrame(rows)
    CONFIGURATION["trainer"]["epochs"] = round(TRAINING_SENTENCES / (table["split"] == "train").sum())
    table["split"] = table["split"].map(CODES)
    table.to_csv(FOLDER / "ludwig.csv", index=False)
    os.environ["OMP_NUM_THREADS"] = "1"  # of each of two trials at once; torch here has read the 2 of the last training
    # Otherwise Ludwig joins any Ray that runs on the machine.
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    place = {"output_directory": str(FOLDER / "ludwig"), "skip_save_log": True, "random_seed": 42}
    found = hyperopt(copy.deepcopy(CONFIGURATION), dataset=str(FOLDER / "ludwig.csv"), **place)
    trials = found.ordered_trials
    if not trials:
        no_answer(f"Ludwig {version('ludwig')}")
        return
    best = json.loads(trials[0].parameters) if isinstance(trials[0].parameters, str) else trials[0].parameters
    settings = copy.deepcopy(CONFIGURATION)
    del settings["hyperopt"]
    model = LudwigModel(substitute_parameters(settings, best))
    model.train(dataset=str(FOLDER / "ludwig.csv"), **place)
    model.save(str(FOLDER / "model"))
    answer(
        lambda texts: model.predict(pd.DataFrame({"text": texts}))[0]["label_predictions"].tolist(),
        FOLDER / "model",
        trials=len(trials),
        version=f"Ludwig {version('ludwig')}",
        chosen=str(best),
        texts=texts,
    )


if __name__ == "__main__":
    main()
