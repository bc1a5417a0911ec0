"""FLAML on the task of benchmarks.peers.compare: it searches a classifier on TF-IDF of words and pairs of words.

Its own task for texts fine-tunes a transformer from a hub, which needs the network and more time.
"""

import pickle
from importlib.metadata import version

from flaml import AutoML
from peer_task import FOLDER, SECONDS, answer, texts_and_labels
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import LabelEncoder


def main():
    (train, train_labels), (val, val_labels) = texts_and_labels("train"), texts_and_labels("val")
    vectorizer, encoder = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LabelEncoder()
    features, codes = vectorizer.fit_transform(train), encoder.fit_transform(train_labels)
    automl = AutoML()
    automl.fit(
        features,
        codes,
        X_val=vectorizer.transform(val),
        y_val=encoder.transform(val_labels),
        task="classification",
        metric="accuracy",
        time_budget=SECONDS,
        n_jobs=2,
        seed=0,
        verbose=0,
        log_file_name=str(FOLDER / "flaml.log"),
    )
    (FOLDER / "model.pickle").write_bytes(pickle.dumps((vectorizer, automl.model, encoder)))
    answer(
        lambda texts: encoder.inverse_transform(automl.predict(vectorizer.transform(texts))).tolist(),
        FOLDER / "model.pickle",
        trials=None,
        version=f"FLAML {version('flaml')}",
        chosen=f"{automl.best_estimator} {automl.best_config}",
    )


if __name__ == "__main__":
    main()
