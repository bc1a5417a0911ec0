"""load_corpus on a user's files: the arrays, the key, the cache and the errors."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core import Corpus, load_corpus
from core.data import datasets
from core.data.audit import render_audit
from core.data.corpus import TEST, TRAIN, VAL
from core.data.load import build_arrays, load_texts
from core.data.readers import Table
from core.data.tokenizer import tokenize, tokenizer_name
from core.data.vectors import resolve_vectors
from core.errors import DataError, UserError
from core.io import cache
from tests.support.archives import tar_gz
from tests.support.reviews import Load, csv_of


def sentence(corpus: Corpus, row: int) -> list[str]:
    return [corpus.words[number] for number in corpus.tokens[corpus.offsets[row] : corpus.offsets[row + 1]]]


def test_a_corpus_keeps_its_promises(load: Load) -> None:
    corpus = load()
    assert (corpus.tokens.dtype, corpus.offsets.dtype) == (np.int32, np.int64)
    assert (corpus.labels.dtype, corpus.split.dtype) == (np.int64, np.uint8)
    assert corpus.words[:2] == ("<pad>", "<unk>")
    assert corpus.tokens.min() >= 1
    assert corpus.tokens.max() < len(corpus.words)
    assert (corpus.lengths() >= 1).all()
    assert corpus.classes == ("neg", "pos")
    assert [len(corpus.indices(code)) for code in (TRAIN, VAL, TEST)] == [32, 4, 4]
    assert corpus.labels.tolist() == [0, 1] * 20
    assert (corpus.vectors, corpus.embedding_dim) == (None, 300)
    assert "<unk>" not in repr(corpus)  # a notebook would show all words


def test_paths_may_be_objects_and_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the cache is a folder of the name `~`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text(csv_of())
    Path("mine.vec").write_text("2 3\nfilm 1 2 3\ngood 3 2 1\n")
    source = load_corpus(Path("reviews.csv"), vectors=Path("mine.vec"), cache_dir="~/cache").source
    assert (source["dataset"], source["vectors"]) == ("reviews.csv", "mine.vec")
    assert (tmp_path / "cache" / "corpora").is_dir()
    assert not Path("~").exists()


def test_sentences_can_be_read_back_and_only_train_makes_the_vocabulary(load: Load) -> None:
    corpus = load()
    for row in range(40):
        expected = tokenize(f"the {'good' if row % 2 else 'bad'} film number {row}", "english")
        if corpus.split[row] != TRAIN:
            expected[-1] = "<unk>"
        assert sentence(corpus, row) == expected


def test_the_source_of_a_corpus_describes_it(load: Load, tmp_path: Path) -> None:
    source = load().source
    assert source["dataset"] == str(tmp_path / "reviews.csv")
    assert {"n_sentences": 40, "vectors": "none", "split": "80/10/10", "split_seed": 42}.items() <= source.items()
    assert {"text_column": "text", "label_column": "label", "vectors_licence": None}.items() <= source.items()
    assert source["tokenizer"].startswith("nltk-")
    assert source["licence"] == "as the owner of the file states"
    assert source["audit"]["sentences"] == 40
    assert set(source["inputs"]) == {"data", "vectors", "tokenizer", "split"}


def test_arrays_are_read_only_memory_maps_and_pickle_takes_them_out_of_band(load: Load) -> None:
    corpus = load()
    for array in (corpus.tokens, corpus.offsets, corpus.labels, corpus.split):
        assert type(array) is np.ndarray
        assert not array.flags.writeable
    taken: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(corpus.tokens, protocol=5, buffer_callback=taken.append)
    assert len(taken) == 1
    assert len(rest) < 300


def test_a_second_load_reads_no_text(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load()
    monkeypatch.setattr(core.data.load, "tokenize_all", None)
    second = load()
    assert second.fingerprint == first.fingerprint
    assert (second.tokens == first.tokens).all()


def test_a_damaged_entry_is_named_and_built_again(load: Load, tmp_path: Path) -> None:
    first = load()
    file = tmp_path / "cache" / "corpora" / first.fingerprint / "tokens.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    reported: list[str] = []
    assert (load(progress=reported.append).tokens == load().tokens).all()
    assert reported == [f"cache entry damaged: {file} has changed since it was written; building it again"]


def test_rows_that_lack_something_are_left_out_on_request(load: Load, tmp_path: Path) -> None:
    whole = load()
    (tmp_path / "reviews.csv").write_text(f"{csv_of()}a film,\n,pos\n")
    with pytest.raises(DataError, match="line 42: no label in column 'label'; add it, or pass --drop-missing"):
        load()
    corpus = load(drop_missing=True)
    assert corpus.labels.tolist() == whole.labels.tolist()
    assert corpus.tokens.tolist() == whole.tokens.tolist()
    lines = render_audit(corpus.source["audit"]).splitlines()
    assert lines[1] == "columns     text 'text', label 'label'; rows left out: 2"
    data = {"dataset": str(tmp_path / "reviews.csv"), "drop_missing": True}
    assert len(load_texts(data, corpus.fingerprint, tmp_path / "cache")) == 40


CHINESE = "\n".join(["text,label", *(f"第{i}部电影{'很好看' if i % 2 else '不好看'},{i % 2}" for i in range(40))])
FRENCH = csv_of().replace("film", "séance très réussie à côté de l'été")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "tokenizer", "vectors", "lines"),
    [
        (csv_of(), "english", "glove-50d", []),
        (
            FRENCH,
            "unicode",
            "glove-50d",
            ["tokenizer   unicode: 80.2% of the letters are a to z (--tokenizer chooses)"],
        ),
        (
            CHINESE,
            "characters",
            "none",
            [
                "tokenizer   characters: 100% of the letters are of scripts without spaces (--tokenizer chooses)",
                "vectors     none, because 100% of the letters are of scripts without spaces; "
                "pass --vectors FILE for vectors of your language",
            ],
        ),
    ],
)
def test_the_letters_choose_tokenizer_and_vectors(
    load: Load, tmp_path: Path, text: str, tokenizer: str, vectors: str, lines: list[str]
) -> None:
    """The choice is part of the key as if it had been given, and the same by memory."""
    (tmp_path / "reviews.csv").write_text(text)
    for _ in range(2):
        reported: list[str] = []
        corpus = load(vectors="auto", progress=reported.append)
        assert (tokenizer_name(corpus.source["tokenizer"]), corpus.source["vectors"]) == (tokenizer, vectors)
        assert reported == lines
    assert corpus.embedding_dim == {"glove-50d": 50, "none": 100}[vectors]
    assert load(tokenizer=tokenizer, vectors=vectors).fingerprint == corpus.fingerprint


def test_the_tokenizer_is_chosen_for_the_column_that_is_read(load: Load, tmp_path: Path) -> None:
    rows = [f"the film number {i},第{i}部电影很好看,{i % 2}" for i in range(40)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,original,label", *rows]))
    found = [tokenizer_name(load(text_column=name).source["tokenizer"]) for name in ("text", "original")]
    assert found == ["english", "characters"]


def test_a_text_is_read_once_for_the_choice_and_the_corpus(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = datasets.read_table
    monkeypatch.setattr(datasets, "read_table", lambda path, encoding: read.append(path) or original(path, encoding))
    load()
    load()
    assert len(read) == 1


def test_the_same_file_elsewhere_is_the_same_corpus(load: Load, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / "copied.csv"
    copy.write_text(csv_of())
    here, there = load(), load(str(copy))
    assert here.fingerprint == there.fingerprint
    assert (here.source["dataset"], there.source["dataset"]) == (str(tmp_path / "reviews.csv"), str(copy))


def test_a_file_that_is_not_utf8_is_read_with_a_note_that_cannot_steer_the_terminal(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred.csv"
    path.write_bytes(csv_of().replace("film", "séance très réussie à côté du café").encode("cp1252"))
    reported: list[str] = []
    assert "séance" in load(str(path), progress=reported.append, tokenizer="unicode").words
    assert reported == [
        rf"{tmp_path}/\x1b[31mred.csv: is not UTF-8, read as cp1252; if letters are wrong, search with another "
        "--encoding"
    ]


def test_vectors_of_a_file_fill_the_rows_of_their_words(load: Load, tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text("good 1 2\nfilm 3 4\nUNUSED 0 0\nUnused 5 6\nunused 7 8\n")
    corpus = load(vectors=str(tmp_path / "v.vec"))
    assert corpus.vectors is not None
    assert corpus.embedding_dim == 2
    assert corpus.vectors.shape == (len(corpus.words), 2)
    assert corpus.vectors[corpus.words.index("film")].tolist() == [3, 4]
    assert corpus.vectors[0].tolist() == [0, 0]
    assert (corpus.words[-1], corpus.vectors[-1].tolist(), corpus.frozen_words) == ("unused", [7, 8], 1)
    coverage = corpus.source["audit"]["coverage"]
    assert (coverage["found"], coverage["vocabulary"]) == (2, corpus.trained_words - 2)
    assert ["the", 32] in coverage["missing"]


def test_words_of_the_vectors_fill_the_vocabulary_up_to_its_limit(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.vec").write_text("good 1 2\n" + "".join(f"other{i} 1 2\n" for i in range(9)))
    most = len(load().words) + 3
    monkeypatch.setattr("core.data.load.MAX_WORDS", most)
    corpus = load(vectors=str(tmp_path / "v.vec"))
    assert (len(corpus.words), corpus.frozen_words) == (most, 3)


def test_the_fingerprint_of_the_test_split_is_of_its_places_labels_and_lengths(load: Load) -> None:
    corpus = dataclasses.replace(load(), labels=np.zeros(40, dtype=np.int64))
    tested, kept = corpus.split == TEST, corpus.test_fingerprint()
    others = {"split": np.where(tested, TEST, TRAIN), "labels": np.where(tested, 0, 1)}
    assert dataclasses.replace(corpus, **others).test_fingerprint() == kept
    offsets = corpus.offsets + (np.arange(41) > corpus.indices(TEST)[0])
    for change in ({"labels": np.where(tested, 1, 0)}, {"split": np.roll(corpus.split, 2)}, {"offsets": offsets}):
        assert dataclasses.replace(corpus, **change).test_fingerprint() != kept


def test_the_width_without_vectors_is_asked_for(load: Load) -> None:
    assert load(embedding_dim=20).embedding_dim == 20


COLUMN = ["text,label,side", "a b,x,train", "c d,y,train", "e f,x,val", "g h,y,Test"]


def test_a_split_column_implies_its_rule(load: Load, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("\n".join(COLUMN))
    corpus = load(split_column="side")
    assert corpus.split.tolist() == [TRAIN, TRAIN, VAL, TEST]
    assert corpus.source["split"] == "column"


def test_over_folds_the_split_column_is_neither_text_nor_label(load: Load, tmp_path: Path) -> None:
    """The labels look like codes, so without this rule the label column would be the split column."""
    rows = [f"a film of number {i},{'train' if i % 4 else 'val'},{1000 + i % 2}" for i in range(24)]
    (tmp_path / "reviews.csv").write_text("\n".join(["sentence,side,y", *rows]))
    whole, fold = load(split_column="side"), load(split_column="side", split="folds:3", fold=1)
    assert whole.classes == fold.classes == ("1000", "1001")
    assert fold.source["inputs"]["data"] == whole.source["inputs"]["data"]
    assert load(split="folds:3", fold=1, label_column="y").split.tolist() == fold.split.tolist()


def test_a_split_that_is_none_is_refused_with_its_line(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    lines = file.read_text().splitlines()
    lines[0] += ",side"
    file.write_text("\n".join([lines[0], *(f"{line},train" for line in lines[1:3]), f"{lines[3]},trian"]))
    with pytest.raises(DataError, match=r"reviews.csv, line 4: column 'side' must be train, val or test, got 'trian'"):
        load(split_column="side")


def test_a_file_that_changes_while_it_is_read_is_refused(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = datasets.read_table

    def changed(path: Path, encoding: str) -> Table:
        table = read(path, encoding)
        path.write_text(path.read_text() + "one more,1\n")
        return table

    monkeypatch.setattr(datasets, "read_table", changed)
    with pytest.raises(DataError, match=r"reviews.csv: has changed while it was read; run the same command again"):
        load()


def test_a_leaking_split_column_is_refused_with_three_examples_unless_allowed(load: Load, tmp_path: Path) -> None:
    leaks = ["A b!,x,val", "a-b,x,test", "c  d,y,val", "c d.,y,test"]
    (tmp_path / "reviews.csv").write_text("\n".join([*COLUMN, *leaks]))
    with pytest.raises(
        DataError,
        match=r"reviews\.csv: the split column assigns the same text to two splits \(6 times\): "
        r"train/val 'A b!'; train/val 'c  d'; train/test 'a-b'; "
        r"fix the data, omit --split-column, or pass --allow-leak",
    ):
        load(split_column="side")
    assert load(split_column="side", allow_leak=True).source["audit"]["duplicates_across"]["train/val"]["near"] == 2


def test_the_movie_reviews_are_read_from_a_path(load: Load, tmp_path: Path) -> None:
    files = {
        f"rt-polarity.{end}": "\n".join(f"{word} film {i}" for i in range(9)).encode()
        for end, word in (("neg", "bad"), ("pos", "good"))
    }
    (tmp_path / "mr.tar.gz").write_bytes(tar_gz(files))
    assert load(f"mr:{tmp_path / 'mr.tar.gz'}").classes == ("negative", "positive")


def test_an_entry_that_another_process_removes_after_its_check_is_one_line(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = cache.get_or_build

    def cleared(*arguments: Any) -> cache.CacheEntry:
        entry = find(*arguments)
        cache.clear(tmp_path / "cache")
        return entry

    monkeypatch.setattr(cache, "get_or_build", cleared)
    with pytest.raises(UserError, match=r"/corpora/\w+/\w+\.\w+ was removed meanwhile; run the same command"):
        load()


def test_slow_steps_report_their_progress(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("core.data.vocabulary", "core.io.streams"):
        monkeypatch.setattr(f"{module}._QUIET_SECONDS", -1.0)
    (tmp_path / "v.vec").write_text("good 1 2\n")
    reported: list[str] = []
    load(vectors=str(tmp_path / "v.vec"), progress=reported.append)
    assert reported == ["tokenising: 0 of 40 sentences", "reading v.vec: 100%"]


@pytest.mark.parametrize("validation", ["split", "folds:3"])
def test_the_texts_of_validation_are_in_the_order_of_the_corpus(load: Load, tmp_path: Path, validation: str) -> None:
    corpus, data = load(validation=validation), {"dataset": str(tmp_path / "reviews.csv")}
    texts = load_texts(data, corpus.fingerprint, tmp_path / "cache", only_validation=True)
    assert texts == [f"the {'good' if row % 2 else 'bad'} film number {row}" for row in corpus.validation()]


def test_texts_of_a_corpus_that_is_not_in_the_cache_are_refused(load: Load, tmp_path: Path) -> None:
    message = r"not in the cache .*empty; pass the study's --cache-dir, or run its command again$"
    with pytest.raises(UserError, match=message):
        load_texts({"dataset": str(tmp_path / "reviews.csv")}, load().fingerprint, tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_texts_of_a_file_that_has_changed_or_is_gone_are_refused(load: Load, tmp_path: Path) -> None:
    path, fingerprint = tmp_path / "reviews.csv", load().fingerprint
    path.write_text(path.read_text().replace("film", "book"))
    with pytest.raises(DataError, match=r"reviews\.csv has changed since the study was created; restore the old file"):
        load_texts({"dataset": str(path)}, fingerprint, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=r"reviews\.csv: no such file"):
        load_texts({"dataset": str(path)}, fingerprint, tmp_path / "cache")


def test_words_of_the_vectors_that_are_cut_into_characters_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text("3 1\n我们 1\n很 2\n累 3\n", encoding="utf-8")
    table = resolve_vectors(str(tmp_path / "v.vec"), tmp_path, 1)
    _, words, frozen, _ = build_arrays(["很好"], np.full(1, TRAIN, dtype=np.uint8), table, "characters")
    assert (words, frozen) == (["<pad>", "<unk>", "很", "好", "累"], 1)


def test_words_that_the_file_of_vectors_has_with_a_capital_are_known(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text("4 1\nHaus 1\ndas 2\nBaum 3\nUSA 4\n", encoding="utf-8")
    table = resolve_vectors(str(tmp_path / "v.vec"), tmp_path, 1)
    arrays, words, frozen, _ = build_arrays(["das Haus"], np.full(1, TRAIN, dtype=np.uint8), table, "unicode")
    assert (words, frozen) == (["<pad>", "<unk>", "das", "haus", "baum"], 1)
    assert arrays["vectors"][2:, 0].tolist() == [2, 1, 3]


def test_a_word_whose_capital_is_another_word_has_one_form(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text("ŉ 1\nʼn 2\nʼN 3\nof 4\n", encoding="utf-8")
    table = resolve_vectors(str(tmp_path / "v.vec"), tmp_path, 1)
    words = build_arrays(["ʼn boek"], np.full(1, TRAIN, dtype=np.uint8), table, "unicode")[1]
    assert words == ["<pad>", "<unk>", "ʼn", "boek", "ŉ", "of"]
