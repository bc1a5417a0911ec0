"""fastText's autotune on the task of benchmarks.peers.compare, with the task's word vectors."""

from importlib.metadata import version

import fasttext
from peer_task import FOLDER, SECONDS, answer, read_rows


def main():
    rows = read_rows("tokens.csv")
    codes = {label: f"__label__{at}" for at, label in enumerate(sorted({row["label"] for row in rows}))}
    names = {code: label for label, code in codes.items()}
    for split in ("train", "val"):
        lines = [f"{codes[row['label']]} {row['text']}\n" for row in rows if row["split"] == split]
        (FOLDER / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    vectors = (FOLDER / "vectors.txt").read_text(encoding="utf-8").splitlines()
    header = f"{len(vectors)} {len(vectors[0].split(' ')) - 1}"  # fastText's own format begins with the size
    (FOLDER / "vectors.vec").write_text("\n".join([header, *vectors]) + "\n", encoding="utf-8")
    model = fasttext.train_supervised(
        input=str(FOLDER / "train.txt"),
        autotuneValidationFile=str(FOLDER / "val.txt"),
        autotuneDuration=int(SECONDS),
        pretrainedVectors=str(FOLDER / "vectors.vec"),
        dim=50,
        thread=2,
        verbose=0,
    )
    model.save_model(str(FOLDER / "model.bin"))
    args = model.f.getArgs()
    chosen = {name: getattr(args, name) for name in ("epoch", "lr", "dim", "wordNgrams", "minn", "maxn", "bucket")}

    def predict(texts):
        return [names[labels[0]] for labels in model.predict(texts)[0]]

    answer(
        predict,
        FOLDER / "model.bin",
        trials=None,
        version=f"fastText {version('fasttext-community')}",
        chosen=str(chosen),
        texts=[row["text"] for row in rows if row["split"] == "test"],
    )


if __name__ == "__main__":
    main()
