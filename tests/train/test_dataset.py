"""Reading pairs: columns, splits, weights, and what is refused before the first step."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from ingest.errors import ContractError, PreflightError
from train import dataset
from train.config import RunConfig
from train.dataset import PairDataset, PairReader, columns_of, refuse_no_rows, split_by_column, split_by_hash
from train.inputs import read_pairs
from train.model import Policy
from train.preflight import Preflight
from train.progress import bars

from .conftest import TEMPLATE, curated_table, learnable_pairs, read_all, say


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def read_texts(
    tokenizer: PreTrainedTokenizerFast, path: Path, rows: Sequence[tuple[str | None, str, str]], **preflight: Any
) -> tuple[PairDataset, Preflight]:
    """Read plain texts (prompt, chosen, rejected), all for training."""
    prompt, chosen, rejected = zip(*rows, strict=True)
    write(path / "texts.parquet", pa.table({"prompt": prompt, "chosen": chosen, "rejected": rejected}))
    checks = Preflight(**{"max_length": None, **preflight})
    reader = PairReader(tokenizer, checks)
    reader.read(path / "texts.parquet", lambda _: "train", lambda _: None)
    return reader.dataset(), checks


def test_pairs_are_addressed_by_row(policy: Policy, curated: Path) -> None:
    pairs = read_all(policy, curated)

    assert len(pairs) == 36
    assert [len(pairs.rows_of(split)) for split in ("train", "validation", "test")] == [24, 7, 5]
    assert pairs.ids == pq.read_table(curated)["triple_id"].to_pylist()
    decoded = policy.tokenizer.decode(pairs[30].chosen)
    assert decoded == "Yes: open Settings, choose the router.<|end|>\n"
    for row in range(len(pairs)):
        prompt, chosen, rejected = pairs[row][:3]
        assert pairs.segment_lengths[row].tolist() == [len(prompt), len(chosen), len(rejected)]
        assert pairs.lengths[row] == len(prompt) + max(len(chosen), len(rejected))


def test_small_batches_read_the_same(policy: Policy, curated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_all(policy, curated)
    monkeypatch.setattr(dataset, "ROWS_AT_ONCE", 5)
    piecewise = read_all(policy, curated)

    assert piecewise.tokens.tolist() == whole.tokens.tolist()
    assert piecewise.starts.tolist() == whole.starts.tolist()
    assert piecewise.ids == whole.ids


def test_rows_without_an_id_are_named_by_number(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    pairs, _ = read_texts(tokenizer, tmp_path, [("a", "b", "c"), ("d", "e", "f")])

    assert pairs.ids == ["row:0", "row:1"]


def test_a_row_key_changes_with_every_token_and_with_the_boundary(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = [("x", "y", "z"), ("x", "y", "z"), ("x", "y", "w"), ("x", "z", "y")]
    pairs, _ = read_texts(tokenizer, tmp_path, rows)
    keys = [pairs.row_key(row) for row in range(4)]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("limit", "drop", "kept"),
    [(-1, True, 1), (0, True, 2), (1, True, 2), (0, False, 2), (1, False, 2)],
    ids=["limit - 1 drops", "limit keeps", "limit + 1 keeps", "limit is no fault", "limit + 1 is no fault"],
)
def test_the_length_limit_is_inclusive(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, limit: int, drop: bool, kept: int
) -> None:
    """The longer row's longer side has exactly `longest` tokens; the limit is set around it."""
    rows = [("x", "y", "z"), ("a b c d", "e f g h i j", "k")]
    longest = int(read_texts(tokenizer, tmp_path, rows)[0].lengths[1])

    pairs, checks = read_texts(tokenizer, tmp_path, rows, max_length=longest + limit, drop_overlong=drop)

    assert len(pairs) == kept
    assert len(pairs) + len(checks.dropped) == 2


def test_overlong_rows_are_refused_with_count_and_names(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    rows = [("x", "y", "z"), *[("a b c d e f g h i j", "k", "l")] * 7]

    with pytest.raises(PreflightError) as refusal:
        read_texts(tokenizer, tmp_path, rows, max_length=8)

    assert "overlong: 7 rows" in str(refusal.value)
    assert "(8): row:1, row:2, row:3, row:4, row:5, ..." in str(refusal.value)
    assert "--on-overlong drop" in str(refusal.value)


def test_overlong_rows_left_out_are_listed_with_their_lengths(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    _, checks = read_texts(
        tokenizer, tmp_path, [("x", "y", "z"), ("a b c", "d", "e f")], max_length=4, drop_overlong=True
    )
    checks.write_dropped(tmp_path / "dropped.parquet")

    (row,) = pq.read_table(tmp_path / "dropped.parquet").to_pylist()
    assert (row["triple_id"], row["rule"], row["first"]) == ("row:1", "overlong@v1", True)
    assert row["detail"].endswith("the limit is 4")


FAULTS: list[tuple[str, Any, str | None]] = [
    ("empty response", [("x", "<|end|>", "y")], None),  # the end token alone is a token: a model may say nothing
    ("identical responses", [("x", "y", "y<|end|>")], "identical_responses: 1 rows"),
    ("empty prompt", [("", "y", "z")], "empty_prompt: 1 rows"),
    ("null prompt", [(None, "y", "z")], "null_side: 1 rows"),
]


@pytest.mark.parametrize(("rows", "message"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_of_texts(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, rows: Any, message: str | None) -> None:
    if message is None:
        assert len(read_texts(tokenizer, tmp_path, rows)[0]) == 1
        return
    with pytest.raises(PreflightError, match=message):
        read_texts(tokenizer, tmp_path, rows)


def test_a_conversation_without_a_response_is_refused(policy: Policy, tmp_path: Path) -> None:
    table = curated_table(learnable_pairs(2, 0), chosen=[[], [say("assistant", "Yes.")]])
    path = write(tmp_path / "curated.parquet", table)

    with pytest.raises(PreflightError, match=f"empty_response: 1 rows.*{table['triple_id'][0]}"):
        read_all(policy, path)


def test_a_doubled_begin_token_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    begin = tokenizer.convert_tokens_to_ids("<|system|>")

    with pytest.raises(PreflightError, match="doubled_bos: 1 rows"):
        read_texts(tokenizer, tmp_path, [("<|system|><|system|>x", "y", "z"), ("<|system|>x", "y", "z")], bos=begin)


def test_a_begin_token_within_a_response_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A begin token that is the end token as well, as GPT-NeoX has it, ends every response and is no fault."""
    begin, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|system|>", "<|end|>"))

    with pytest.raises(PreflightError, match="doubled_bos: 1 rows"):
        read_texts(tokenizer, tmp_path, [("x", "<|system|>y", "z"), ("x", "y", "z")], bos=begin)
    assert len(read_texts(tokenizer, tmp_path, [("x", "y", "z")], bos=end, ends=frozenset({end}))[0]) == 1


def curated_of(policy: Policy, template: str, path: Path, rows: Any = None) -> PairDataset:
    """Read two pairs with another chat template, as a run does."""
    other = Policy(policy.model, copy.deepcopy(policy.tokenizer), None)
    other.tokenizer.chat_template = template
    write(path / "curated.parquet", curated_table(rows or learnable_pairs(1, 1)))
    values: dict[str, object] = {
        "data": path / "curated.parquet",
        "model": path,
        "output": path,
        "reference_cache": path,
    }
    with bars() as progress:
        return read_pairs(RunConfig.checked(values), other, progress)[0]


def test_a_template_that_writes_no_end_token_is_refused(policy: Policy, tmp_path: Path) -> None:
    endless = TEMPLATE.replace("<|end|>\n{% endfor %}", "\n{% endfor %}")

    assert len(curated_of(policy, TEMPLATE, tmp_path)) == 2  # white space after the end token is no fault
    with pytest.raises(PreflightError, match="missing_end: 2 rows"):
        curated_of(policy, endless, tmp_path)


REWRITES = [
    ("leaves out the question", TEMPLATE.replace("{% if m.content %}", "{% if m.role != 'user' %}")),
    ("leaves out thoughts", TEMPLATE.replace("m['content']", "m['content'].split('open')[-1]")),
    ("prompt changes with the response", "<|system|>{{ messages | length }}" + TEMPLATE),
]


@pytest.mark.parametrize("template", [r[1] for r in REWRITES], ids=[r[0] for r in REWRITES])
def test_a_template_that_rewrites_what_was_said_is_refused(policy: Policy, tmp_path: Path, template: str) -> None:
    with pytest.raises(PreflightError, match="template_mismatch: 2 rows"):
        curated_of(policy, template, tmp_path)


def test_boundary_drift_is_said(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A generation prompt that opens a thought, which rendered answers do not have: TRL trains so, and so do we."""
    thinks = TEMPLATE.replace("<|assistant|>\n{% endif %}", "<|assistant|>\n<think>{% endif %}")

    assert len(curated_of(policy, thinks, tmp_path)) == 2
    assert "2 pairs: the template renders the prompt differently before a response" in capsys.readouterr().err


def test_every_fault_of_a_file_is_reported_at_once(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as refusal:
        read_texts(tokenizer, tmp_path, [("x", "y", "y"), ("", "y", "z"), ("x", "y", "z")])

    assert "identical_responses: 1 rows" in str(refusal.value)
    assert "empty_prompt: 1 rows" in str(refusal.value)


CONTRACTS = [
    ("no rejected", pa.table({"prompt": ["a"], "chosen": ["b"]}), "no column"),
    ("mixed forms", pa.table({"prompt": ["a"], "chosen": [[say("assistant", "b")]], "rejected": ["c"]}), "all texts"),
    ("numbers", pa.table({"prompt": [1], "chosen": [2], "rejected": [3]}), "all texts"),
]


@pytest.mark.parametrize(("table", "message"), [c[1:] for c in CONTRACTS], ids=[c[0] for c in CONTRACTS])
def test_a_file_that_holds_no_pairs_is_refused(tmp_path: Path, table: pa.Table, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        columns_of(write(tmp_path / "data.parquet", table))


def test_a_file_that_is_absent_or_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("{}")

    with pytest.raises(ContractError, match="No file at"):
        columns_of(tmp_path / "none.parquet")
    with pytest.raises(ContractError, match="not a Parquet file"):
        columns_of(tmp_path / "data.parquet")


def test_an_unknown_split_is_refused(policy: Policy, tmp_path: Path) -> None:
    table = curated_table([("p", "a", "b", "holdout")])

    with pytest.raises(ContractError, match=r"split is 'holdout'; expected one of train, validation, test"):
        read_all(policy, write(tmp_path / "curated.parquet", table))


def test_an_id_that_comes_twice_is_refused(policy: Policy, tmp_path: Path) -> None:
    table = curated_table([*learnable_pairs(1, 0), *learnable_pairs(1, 0)])

    with pytest.raises(ContractError, match="comes twice"):
        read_all(policy, write(tmp_path / "curated.parquet", table))


def test_weights_have_mean_one_over_the_training_pairs(policy: Policy, tmp_path: Path) -> None:
    """Weights 1, 3 of the training pairs have mean 2; the validation pair's 4 is on the same scale."""
    table = curated_table(learnable_pairs(2, 1), weight=[1.0, 3.0, 4.0])

    pairs = read_all(policy, write(tmp_path / "curated.parquet", table))

    assert pairs.weights.tolist() == [0.5, 1.5, 2.0]


def test_weights_that_are_all_null_are_one(policy: Policy, tmp_path: Path) -> None:
    table = curated_table(learnable_pairs(2, 0), weight=[None, None])

    assert read_all(policy, write(tmp_path / "curated.parquet", table)).weights.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("weight", [None, -1.0, float("nan"), float("inf")])
def test_a_row_that_lacks_a_usable_weight_is_refused(policy: Policy, tmp_path: Path, weight: float | None) -> None:
    table = curated_table(learnable_pairs(2, 0), weight=[1.0, weight])

    with pytest.raises(ContractError, match="weight is"):
        read_all(policy, write(tmp_path / "curated.parquet", table))


def test_the_hash_split_keeps_a_prompt_together_and_holds_out_about_the_share() -> None:
    split = split_by_hash(seed=5, validation_share=0.2)
    rows: list[dict[str, object]] = [{"prompt": f"question {i % 1000}", "chosen": str(i)} for i in range(2000)]
    found = [split(row) for row in rows]

    assert found[:1000] == found[1000:]
    assert 0.16 < found[:1000].count("validation") / 1000 < 0.24
    assert found != [split_by_hash(seed=6, validation_share=0.2)(row) for row in rows]


def test_both_sides_of_the_split_must_have_pairs(policy: Policy, tmp_path: Path) -> None:
    path = write(tmp_path / "curated.parquet", curated_table(learnable_pairs(3, 0)))

    with pytest.raises(PreflightError, match="3 training and 0 held-out pairs"):
        refuse_no_rows(read_all(policy, path))


def test_the_column_split_is_the_files() -> None:
    assert split_by_column({"split": "test", "triple_id": "t"}) == "test"


@pytest.mark.parametrize("column", [None, "null"], ids=["no triple_id", "null triple_id"])
def test_two_files_without_ids_are_named_apart(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, column: str | None
) -> None:
    table = pa.table({"prompt": ["a", "b"], "chosen": ["c", "d"], "rejected": ["e", "f"]})
    if column:
        table = table.append_column("triple_id", pa.nulls(2, pa.string()))
    path = write(tmp_path / "texts.parquet", table)
    reader = PairReader(tokenizer, Preflight(max_length=None))
    reader.read(path, lambda _: "train", lambda _: None)
    reader.read(path, lambda _: "validation", lambda _: None, "validation:")

    assert reader.dataset().ids == ["row:0", "row:1", "validation:row:0", "validation:row:1"]


def test_an_id_that_only_some_rows_have_is_refused(policy: Policy, tmp_path: Path) -> None:
    table = curated_table(learnable_pairs(2, 0), triple_id=["one", None])

    with pytest.raises(ContractError, match="row 1 has no triple_id"):
        read_all(policy, write(tmp_path / "curated.parquet", table.cast(_nullable(table.schema))))


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def test_training_pairs_that_all_have_weight_zero_are_refused(policy: Policy, tmp_path: Path) -> None:
    path = write(tmp_path / "curated.parquet", curated_table(learnable_pairs(2, 1), weight=[0.0, 0.0, 1.0]))

    with pytest.raises(PreflightError, match="Every training pair has weight 0"):
        refuse_no_rows(read_all(policy, path))
