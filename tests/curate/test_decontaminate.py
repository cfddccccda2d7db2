"""What a model is evaluated on is found in prompts and responses: planted leaks, and what only looks like them."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import evaluation_sets
from curate import recipe as recipes
from curate.recipe import EvaluationSet, Recipe
from ingest.errors import RecipeError

from .conftest import judge_triples, make_triple, make_workspace, varied

ITEM = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
"""16 words."""
SHORT = "What is two plus two?"
REWORDED = ITEM.replace("eight", "acht")


def decontaminating(**settings: object) -> Recipe:
    return Recipe.model_validate({"decontamination": {"sets": [{"name": "quiz", "path": "quiz.jsonl"}], **settings}})


@pytest.fixture
def quiz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of two questions, in the working folder."""
    records = [{"question": ITEM, "answer": "x"}, {"question": SHORT, "answer": "4"}]
    (tmp_path / "quiz.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_planted_leaks(quiz: Path) -> None:
    """Item of 16 words. Whole: all 16. Its first 9 words are 9 / 16 > 0.5, its first 8 are just half, 7 no run at all.

    With the eighth word another, only the last run of 8 words is left, and the word triples are 11 of 17.
    """
    words = ITEM.split()
    leaks = {
        "prompt holds all 16 words of quiz record 0 (question)": make_triple(f"So: {ITEM.upper()}!"),
        "chosen holds all 16 words of quiz record 0 (question)": make_triple("A?", chosen=f"It is {ITEM}."),
        "rejected holds 9 of 16 words, at most 9 in a row, of quiz record 0 (question)": make_triple(
            "B?", rejected=" ".join(words[:9])
        ),
        "prompt holds all 5 words of quiz record 1 (question)": make_triple("what is TWO plus  two"),
    }
    innocent = [
        make_triple("C?", rejected=" ".join(words[:8])),
        make_triple("D?", chosen=" ".join(words[:7]) + " or " + " ".join(words[7:14])),
        make_triple("Please tell me: what is two plus two?"),
        make_triple("E?", chosen=SHORT),
        make_triple(REWORDED),
    ]
    judged = judge_triples([*leaks.values(), *innocent, *varied(2)], decontaminating())
    for detail, row in leaks.items():
        assert [(name, told) for name, _, told in judged.dropped[row["triple_id"]]] == [("evaluation_overlap", detail)]
    assert [judged.first(row) for row in innocent] == [None] * len(innocent)


@pytest.mark.parametrize(("item", "words"), [("Photosynthesis?", 1), ("Define entropy.", 2), ("你好吗", 3)])
def test_items_of_few_words_say_how_many(quiz: Path, item: str, words: int) -> None:
    """They have one word triple each, whatever their words."""
    (quiz / "quiz.jsonl").write_text(json.dumps({"question": item}), encoding="utf-8")
    row = make_triple(item.upper())
    [(_, _, detail)] = judge_triples([row, *varied(2)], decontaminating()).dropped[row["triple_id"]]
    assert detail == f"prompt holds all {words} words of quiz record 0 (question)"


def test_reworded(quiz: Path) -> None:
    """14 word triples each, of which the 3 with the changed word differ: 11 in both, 17 in either, 11 / 17 = 0.65."""
    row = make_triple(REWORDED)
    [(name, _, detail)] = judge_triples([row, *varied(2)], decontaminating(reworded=0.6)).dropped[row["triple_id"]]
    assert (name, detail) == ("evaluation_overlap", "prompt is 0.65 alike quiz record 0 (question)")


@pytest.mark.parametrize(("ngram", "coverage", "dropped"), [(8, 0.5, False), (7, 0.5, True), (8, 0.49, True)])
def test_runs_and_share_are_settings(quiz: Path, ngram: int, coverage: float, dropped: bool) -> None:
    """The first 8 words and, after another word, the last 7 of 16: 8 / 16 in runs of 8, 15 / 16 in runs of 7."""
    words = ITEM.split()
    row = make_triple("A?", chosen=" ".join([*words[:8], "acht", *words[9:]]))
    judged = judge_triples([row, *varied(2)], decontaminating(ngram=ngram, coverage=coverage))
    assert (judged.first(row) == "evaluation_overlap") == dropped


def test_what_is_in_an_evaluation_set_does_not_vote(quiz: Path) -> None:
    """A leaked triple and its contradiction are dropped for the leak, and not as a deadlock."""
    rows = [make_triple(ITEM, "a", "b"), make_triple(ITEM, "b", "a"), *varied(2)]
    judged = judge_triples(rows, decontaminating())
    assert [judged.first(row) for row in rows] == ["evaluation_overlap"] * 2 + [None] * 2


def test_against_plain_python(quiz: Path) -> None:
    """200 random texts of few words against 40 items: coverage by sets of word tuples, instead of hashes and joins."""
    rng = random.Random(5)
    vocabulary = [f"w{n}" for n in range(12)]
    items = [" ".join(rng.choices(vocabulary, k=rng.randint(4, 14))) for _ in range(40)]
    (quiz / "quiz.jsonl").write_text("\n".join(json.dumps({"text": item}) for item in items), encoding="utf-8")
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(30, 300))) for _ in range(200)]
    rows = [make_triple(f"Question {n}?", chosen=text) for n, text in enumerate(texts)]
    judged = judge_triples([*rows, *varied(2, start=900)], decontaminating(ngram=4, reworded=1.0))

    def runs(text: str) -> list[tuple[str, ...]]:
        words = text.split()
        return [tuple(words[n : n + 4]) for n in range(len(words) - 3)]

    def leaks(text: str, item: str) -> bool:
        held = set(runs(text))
        covered = {place + n for place, run in enumerate(runs(item)) if run in held for n in range(4)}
        return len(covered) > 0.5 * len(item.split())

    expected = {row["triple_id"] for row, text in zip(rows, texts, strict=True) if any(leaks(text, i) for i in items)}
    found = {key for key, reasons in judged.dropped.items() if reasons[0][0] == "evaluation_overlap"}
    assert found == expected
    assert 20 < len(expected) < 180


def _gz(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


FILES: list[tuple[str, Callable[[Path], object], dict[str, object], list[tuple[int, str, str]]]] = [
    ("a.jsonl", lambda p: p.write_text('{"turns":["One?","Two?"]}\n{"turns":["Three?"]}\n'), {},
     [(0, "turns.0", "One?"), (0, "turns.1", "Two?"), (1, "turns.0", "Three?")]),
    ("a.jsonl.gz", lambda p: _gz(p, '{"id":1,"prompt":"One?"}\n{"id":2,"prompt":""}\n'), {}, [(0, "prompt", "One?")]),
    ("a.parquet", lambda p: pq.write_table(pa.table({"q": ["One?"], "a": ["Two"]}), p), {"fields": ("q", "a")},
     [(0, "q", "One?"), (0, "a", "Two")]),
    ("a.csv", lambda p: p.write_text('question,a\n"One, or ""two""?",3\n'), {}, [(0, "question", 'One, or "two"?')]),
    ("b.csv.gz", lambda p: _gz(p, '"One, two?",3\n'), {"fields": ("column0",), "header": False},
     [(0, "column0", "One, two?")]),
    ("a.txt", lambda p: p.write_text('One, "two"?\n\nThree;four\n'), {},
     [(0, "text", 'One, "two"?'), (2, "text", "Three;four")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "settings", "expected"), FILES, ids=[file[0] for file in FILES])
def test_formats(
    name: str,
    write: Callable[[Path], object],
    settings: dict[str, object],
    expected: list[tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    write(tmp_path / name)
    items = evaluation_sets.read([EvaluationSet.model_validate({"name": "s", "path": name, **settings})], tmp_path)
    assert [row[1:] for row in items.rows.rows()] == expected
    assert items.sets[0].items == len(expected)


@pytest.mark.parametrize(
    ("name", "content", "fields", "message"),
    [
        ("absent.jsonl", None, (), "The evaluation set s cannot be read from"),
        ("a.jsonl", '{"a": 1}', (), "has no field prompt or question"),
        ("a.jsonl", '{"a": "x"}', ("b",), "has no field b; it has a"),
        ("a.jsonl", '{"text": 3}', (), "text is BIGINT, expected a text or a list of texts"),
        ("a.jsonl", '{"text": "?"}', (), "holds no text"),
        ("a.jsonl", '{"text": ', (), "cannot be read"),
        ("a.docx", "x", (), "is a .docx file, expected .parquet, .jsonl"),
    ],
)
def test_sets_that_cannot_be_read(
    name: str, content: str | None, fields: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        evaluation_sets.read([EvaluationSet(name="s", path=name, fields=fields)], tmp_path)


def test_two_sets_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    one = '[[decontamination.sets]]\nname = "s"\npath = "a.txt"\n'
    path.write_text(one + one, encoding="utf-8")
    with pytest.raises(RecipeError, match="two evaluation sets have one name"):
        recipes.load(path)


def test_a_snapshot_says_which_item_hit_which_row(tmp_path: Path) -> None:
    """Paths are relative to winnow.toml; both texts that hold an item are rows, the manifest holds the set's hash."""
    workspace = make_workspace(tmp_path, [*varied(30), make_triple(ITEM, chosen=f"{ITEM} indeed")])
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": ITEM}), encoding="utf-8")
    done = workspace.curate(decontaminating())
    assert done.counts.by_reason["evaluation_overlap"].first == 1
    rows = pq.read_table(done.folder / "decontaminated.parquet").to_pylist()
    assert [(row["side"], row["kind"], row["evaluation_set"], row["record"], row["longest"]) for row in rows] == [
        ("chosen", "exact", "quiz", 0, 16),
        ("prompt", "exact", "quiz", 0, 16),
    ]
    (stated,) = json.loads((done.folder / "manifest.json").read_text(encoding="utf-8"))["evaluation_sets"]
    assert (stated["name"], stated["items"], len(stated["sha256"])) == ("quiz", 1, 64)
