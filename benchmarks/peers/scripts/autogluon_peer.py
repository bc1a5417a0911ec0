"""AutoGluon's tabular predictor on the task of benchmarks.peers.compare: its features of a text are n-grams."""

from importlib.metadata import version

import pandas as pd
from autogluon.tabular import TabularPredictor
from peer_task import FOLDER, SECONDS, answer, texts_and_labels


def frame(split):
    texts, labels = texts_and_labels(split)
    return pd.DataFrame({"text": texts, "label": labels})


def main():
    predictor = TabularPredictor(label="label", eval_metric="accuracy", path=str(FOLDER / "model"), verbosity=1)
    # The preset that AutoGluon recommends for accuracy; it needs `use_bag_holdout` to choose on the validation split.
    options = {"presets": "best_quality", "use_bag_holdout": True, "time_limit": SECONDS, "num_cpus": 2}
    predictor.fit(frame("train"), tuning_data=frame("val"), **options)
    board = predictor.leaderboard(silent=True)
    predictor.persist(max_memory=None)  # otherwise each prediction loads the models from disk
    answer(
        lambda texts: predictor.predict(pd.DataFrame({"text": texts})).tolist(),
        FOLDER / "model",
        trials=len(board),
        version=f"AutoGluon {version('autogluon.tabular')}",
        chosen=str(predictor.model_best),
    )


if __name__ == "__main__":
    main()
