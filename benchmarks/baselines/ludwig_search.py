"""Search with Ludwig's hyperopt for benchmarks.quality.ludwig.

    python ludwig_search.py CONFIGURATION.json TABLE.csv FOLDER

It runs in Ludwig's environment, where sentune is not installed. The last line printed is JSON: the seconds of the
search from call to return, every trial's score (best first), the best trial's parameters, and its test accuracy after
it was trained again.
"""

import copy
import json
import sys
import time
from pathlib import Path

import ray
from ludwig.api import LudwigModel
from ludwig.hyperopt.run import hyperopt
from ludwig.hyperopt.utils import substitute_parameters


def main(configuration: str, table: str, folder: str) -> None:
    config = json.loads(Path(configuration).read_text())
    # Otherwise Ludwig joins any Ray that runs on the machine.
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    began = time.perf_counter()
    found = hyperopt(config, dataset=table, output_directory=folder, skip_save_log=True, random_seed=42)
    seconds = time.perf_counter() - began
    trials = found.ordered_trials
    best = json.loads(trials[0].parameters) if isinstance(trials[0].parameters, str) else trials[0].parameters
    print(
        json.dumps(
            {
                "seconds": seconds,
                "scores": [float(trial.metric_score) for trial in trials],
                "parameters": best,
                "test_accuracy": retrained(config, best, table, folder),
            }
        )
    )


def retrained(config: dict, best: dict, table: str, folder: str) -> float:
    """Train the best trial again with all its epochs and return its test accuracy."""
    settings = copy.deepcopy(config)
    del settings["hyperopt"]
    model = LudwigModel(substitute_parameters(settings, best))
    data = model.train(dataset=table, output_directory=folder, skip_save_log=True, random_seed=42).preprocessed_data
    return float(model.evaluate(dataset=data.test_set)[0]["label"]["accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
