"""Balance over triples: what is asked is reached, nobody is lost without a reason, and what cannot be is refused."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import duckdb
import pytest

from curate.recipe import Balance, Recipe
from curate.statements import statement
from ingest.errors import RecipeError

from .conftest import Judged, Row, judge_triples, make_triple

LONG, SHORT = "A long answer with many words", "Ok"
STRICT = {"tolerance": 0.01, "keep_at_least": 0.2}


def planted(longer: int, shorter: int, **columns: Any) -> list[Row]:
    """Return triples of which `longer` prefer the longer response; no two prompts alike."""
    return [
        make_triple(
            f"w{n}", **({"chosen": LONG, "rejected": SHORT} if n < longer else {"chosen": SHORT, "rejected": LONG}),
            **columns,
        )
        for n in range(longer + shorter)
    ]  # fmt: skip


def balanced(rows: list[Row], **asked: Any) -> Judged:
    return judge_triples(rows, Recipe(balance=Balance.model_validate(asked)))


def longer_share(judged: Judged) -> float:
    weights = [(row["weight"], row["chosen_chars"] > row["rejected_chars"]) for row in judged.curated.values()]
    return float(sum(w for w, is_longer in weights if is_longer) / sum(w for w, _ in weights))


def effective(judged: Judged) -> float:
    weights = [row["weight"] for row in judged.curated.values()]
    return float(sum(weights) ** 2 / sum(w * w for w in weights))


def test_weights_bring_85_percent_to_half() -> None:
    """Of 200 triples down-sampling keeps 60; weights keep all, with (51 %) an effective size of 104.9."""
    judged = balanced(planted(170, 30), chosen_has_more={"length": 0.5}, **STRICT)
    assert len(judged.curated) == 200
    assert longer_share(judged) == pytest.approx(0.51, abs=1e-5)
    assert effective(judged) == pytest.approx(104.895, abs=0.01)
    assert effective(judged) >= 1.5 * 60
    assert sum(row["weight"] for row in judged.curated.values()) == pytest.approx(200, abs=1e-3)


def test_rows_bring_85_percent_to_half_and_keep_no_fewer_than_down_sampling() -> None:
    """30 shorter are 49 % of 61.2: 31 longer stay."""
    judged = balanced(planted(170, 30), method="rows", chosen_has_more={"length": 0.5}, **STRICT)
    assert len(judged.curated) == 61  # down-sampling: 60
    assert longer_share(judged) == pytest.approx(31 / 61)
    assert {row["weight"] for row in judged.curated.values()} == {1.0}
    reasons = Counter(reason for found in judged.dropped.values() for reason in found)
    assert reasons == {("balanced_out", True, "31 of 170 triples of its kind stay"): 139}


def test_the_same_rows_stay_in_any_order_and_others_with_another_seed() -> None:
    rows = planted(170, 30)
    asked: dict[str, Any] = {"method": "rows", "chosen_has_more": {"length": 0.5}, **STRICT}
    first = balanced(rows, **asked).curated.keys()
    assert first == balanced(rows[::-1], **asked).curated.keys()
    assert first != balanced(rows, seed=1, **asked).curated.keys()


def test_nothing_asked_nothing_changed() -> None:
    rows = planted(17, 3, weight=0.3)
    judged = judge_triples(rows)
    assert len(judged.curated) == 20
    assert {row["weight"] for row in judged.curated.values()} == {0.3}


def test_weights_multiply_those_that_triples_came_with() -> None:
    """Longer ones weigh 0.5 already: 85 and 30 of 115; both get the factor that makes 51 %: 0.69 and 1.8783."""
    rows = [{**row, "weight": 0.5 if n < 170 else 1.0} for n, row in enumerate(planted(170, 30))]
    judged = balanced(rows, chosen_has_more={"length": 0.5}, **STRICT)
    assert longer_share(judged) == pytest.approx(0.51, abs=1e-5)
    found = {round(row["weight"], 4) for row in judged.curated.values()}
    assert found == {round(0.5 * 0.51 * 115 / 85, 4), round(0.49 * 115 / 30, 4)}


def test_shares_of_a_source_and_of_none() -> None:
    """60 of a, 30 of b, 10 without a source -> 40 %, 40 % and the rest, within 1 %."""
    rows = [{**row, "source": "a" if n < 60 else "b" if n < 90 else None} for n, row in enumerate(planted(50, 50))]
    judged = balanced(rows, shares={"source": {"a": 0.4, "unknown": 0.2}}, **STRICT)
    total: Counter[str | None] = Counter()
    for row in judged.curated.values():
        total[row["source"]] += row["weight"]
    assert total["a"] == pytest.approx(41, abs=1e-3)
    assert total[None] == pytest.approx(19, abs=1e-3)
    assert len(judged.curated) == 100


def test_mean_log_ratio() -> None:
    judged = balanced(planted(70, 30), means={"log_length_ratio": 0.0}, **STRICT)
    rows = judged.curated.values()
    assert abs(longer_share(judged) - 0.5) < 0.01  # ln(29 / 2) both ways: the mean is 0 where shares are equal
    assert len(rows) == 100


def test_style_is_balanced_like_length() -> None:
    """Bold is chosen in 40 of 50 pairs that differ in it."""
    rows = [
        make_triple(f"w{n}", **({"chosen": "**Yes**, it is", "rejected": "Nobody knows that"} if n < 40 else
                                {"chosen": "No, it is not", "rejected": "**Nobody** knows that"}))
        for n in range(50)
    ]  # fmt: skip
    judged = balanced(rows, chosen_has_more={"bold": 0.5}, **STRICT)
    bold = sum(row["weight"] for row in judged.curated.values() if "**" in row["chosen"][0]["content"])
    assert bold == pytest.approx(25.5, abs=1e-3)


def test_caps_keep_the_heaviest() -> None:
    rows = [make_triple(f"w{n}", user_ids=["u:1"] if n < 6 else [f"u:{n}"], weight=1.0 + (n == 3)) for n in range(10)]
    judged = balanced(rows, caps={"user": 2})
    assert len(judged.curated) == 6
    assert rows[3]["triple_id"] in judged.curated
    assert {tuple(found) for found in judged.dropped.values()} == {
        (("over_cap", True, "one of 6 with this user, 2 allowed"),)
    }


def test_of_one_prompt_the_pair_of_most_equal_lengths_stays_where_length_is_balanced() -> None:
    rows = [
        make_triple("Why?", "x" * 40, "y"),
        make_triple("Why?", "z" * 9, "v" * 8),
        make_triple("Why?", "q", "p" * 9),
        *planted(5, 5),
    ]
    judged = balanced(rows, caps={"prompt": 1}, chosen_has_more={"length": 0.5}, tolerance=0.1)
    assert [judged.first(row) for row in rows[:3]] == ["over_cap", None, "over_cap"]


def test_triples_without_a_value_are_not_capped_together() -> None:
    rows = [{**row, "chosen_model": None} for row in planted(5, 5)]
    assert len(balanced(rows, caps={"model": 1}).curated) == 10


def test_dropped_triples_are_not_counted() -> None:
    """The rules come first: empty ones are not part of what is balanced."""
    rows = [*planted(10, 10), *(make_triple(f"e{n}", "a long one", "") for n in range(10))]
    judged = balanced(rows, chosen_has_more={"length": 0.5}, **STRICT)
    assert len(judged.curated) == 20
    assert {row["weight"] for row in judged.curated.values()} == {1.0}


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        (
            planted(20, 0),
            {"chosen_has_more": {"length": 0.5}},
            r"chosen_has_more.length = 0.5 \(tolerance 0.01\) cannot be met while 10% .* nearest that can is 1\.",
        ),
        (
            planted(95, 5),
            {"method": "rows", "chosen_has_more": {"length": 0.5}, "keep_at_least": 0.5},
            r"nearest that can is 0.9\.",
        ),
        (
            planted(5, 5),
            {"chosen_has_more": {"emoji": 0.5}},
            "chosen_has_more.emoji = 0.5 .* no triple can count for it",
        ),
        (
            planted(5, 5),
            {"shares": {"source": {"raw": 0.5}}},
            r"shares.source.raw = 0.5 .* cannot be met while .* nearest that can is 1\.",
        ),
    ],
    ids=["only longer ones", "too many would go", "nobody has an emoji", "one source only"],
)
def test_what_cannot_be_met_is_refused(rows: list[Row], asked: Mapping[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        balanced(rows, **asked)


@pytest.mark.parametrize(
    ("said", "bits"),
    [
        ("Plain text - with a dash, 3. of May and a*b.", 0),
        ("To do:\n- one\n- two", 1),
        ("1. one\n2. two", 1),
        ("It is **bold**", 2),
        ("# Title\ntext", 4),
        ("```\ncode\n```", 4),
        ("| a |\n|---|", 4),
        ("see https://example.org", 8),
        ("[here](page)", 8),
        ("Done ✅", 16),
        ("Grüße, naïve", 0),
        ("Done!", 32),
        ("Sure, I can", 64),
        ("Surely not", 0),
        ("Of course! **Yes**", 64 + 32 + 2),
    ],
)
def test_style(said: str, bits: int) -> None:
    with duckdb.connect() as connection:
        connection.execute(statement("style.sql"))
        assert connection.execute("SELECT style_of($said)", {"said": said}).fetchall() == [(bits,)]
