"""The deployment's own log-probabilities and token ids: used where they are the model's, else refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ingest.errors import ContractError, PreflightError, SettingsError, TrainingError, WinnowError
from train.collate import Collator
from train.config import RunConfig
from train.dataset import PairDataset
from train.gaps import _rounded_weights
from train.inputs import read_pairs
from train.logged import LoggedReference
from train.model import Policy, fingerprint, load
from train.progress import bars
from train.reference import ReferenceCache, ReferenceResult
from train.step_zero import check_policy_is_reference

from .conftest import curated_table, make_trainer, say

Rows = list[dict[str, Any]]
LOGGED = (
    *("chosen_token_ids", "rejected_token_ids", "chosen_token_logprobs", "rejected_token_logprobs"),
    *("logprob_model", "prompt"),
)


@pytest.fixture(scope="module")
def deployed(repository: Path) -> Policy:
    """The sample's model, as a run loads it."""
    return load(repository / "data" / "sample" / "model", torch.device("cpu"), None)


@pytest.fixture(scope="module")
def logged_rows(repository: Path) -> Rows:
    """Twelve pairs of the sample's log, as curated.parquet has them: the votes of its last three days."""
    sample = repository / "data" / "sample"
    days = [(sample / "log" / f"2026-10-{day}.jsonl").read_text(errors="replace") for day in (28, 29, 30)]
    lines = "".join(days).split("\n")
    served: dict[str, Any] = {}
    for line in lines:
        if '"kind":"interaction"' in line and line.endswith("}"):
            record = json.loads(line)
            served |= {record["id"]: record} if "choices" in record["response"] else {}
    votes = json.loads((sample / "truth.json").read_text())["pairs"]["choice"]["list"]
    whole = {name for name, record in served.items() if record["response"]["choices"][0]["finish_reason"] == "stop"}
    wanted = [pair for pair in votes if {name.removesuffix("/0") for name in pair[:2]} <= whole][:12]
    assert len(wanted) == 12
    pairs: list[tuple[str, str, str, str]] = []
    columns: dict[str, list[Any]] = {name: [] for name in LOGGED}
    for i, (chosen, rejected, _) in enumerate(wanted):
        records = [served[name.removesuffix("/0")] for name in (chosen, rejected)]
        choices = [record["response"]["choices"][0] for record in records]
        texts = [choice["message"]["content"] for choice in choices]
        pairs.append(("", texts[0], texts[1], "train" if i % 3 else "validation"))
        for side, choice in zip(("chosen", "rejected"), choices, strict=True):
            columns[f"{side}_token_ids"].append(choice["token_ids"])
            columns[f"{side}_token_logprobs"].append([t["logprob"] for t in choice["logprobs"]["content"]])
        columns["logprob_model"].append(records[0]["logprob_model"])
        columns["prompt"].append([say(m["role"], m["content"]) for m in records[0]["request"]["messages"]])
    rows: Rows = curated_table(pairs, **columns).to_pylist()
    for i, row in enumerate(rows):
        row["triple_id"] = f"t{i}"
    return rows


Read = Callable[..., tuple[PairDataset, ReferenceResult]]


@pytest.fixture
def read(deployed: Policy, tmp_path: Path) -> Read:
    """Write rows, read them as a run with these options does, and fill in their reference."""

    def read_rows(rows: Rows, policy: Policy = deployed, **options: str) -> tuple[PairDataset, ReferenceResult]:
        pq.write_table(pa.Table.from_pylist(rows, schema=curated_table([]).schema), tmp_path / "curated.parquet")
        values: dict[str, object] = {"data": tmp_path / "curated.parquet", "model": tmp_path, "output": tmp_path}
        config = RunConfig.checked({**values, "reference_cache": tmp_path, "reference": "logged", **options})
        with bars() as progress:
            pairs, _ = read_pairs(config, policy, progress)
        cache = ReferenceCache(None, policy, fingerprint(policy), Collator(), 16)
        fill = LoggedReference(cache).fill if config.reference == "logged" else cache.fill
        return pairs, fill(pairs, lambda _: None)

    return read_rows


def changed(rows: Rows, number: int, **values: Any) -> Rows:
    return [{**row, **values} if i == number else row for i, row in enumerate(rows)]


def test_logged_values_give_the_first_loss_of_computed_ones(
    read: Read, logged_rows: Rows, deployed: Policy, tmp_path: Path
) -> None:
    """The sample's log was written by the sample's model and rounds to 5 decimals: 5e-6 nats a token at most."""
    logged, result = read(logged_rows)
    computed, other = read(logged_rows, reference="computed")

    assert (result.logged, result.cached, result.computed) == (12, 0, 0)
    assert (other.logged, other.cached, other.computed, other.path) == (0, 0, 12, None)
    assert np.abs(logged.reference - computed.reference).max() < 1e-3
    losses = []
    for pairs, noise in ((logged, result.noise), (computed, other.noise)):
        trainer = make_trainer(deployed, pairs, tmp_path / "run", order="length")
        losses.append(check_policy_is_reference(trainer, pairs, noise).loss)
    assert abs(losses[0] - losses[1]) < 1e-4


def with_values(rows: Rows, policy: Policy, pairs: PairDataset, change: Callable[[torch.Tensor], torch.Tensor]) -> Rows:
    """Return the rows with log-probabilities that `policy` would have logged; `change` is applied to its logits."""
    made = []
    for i, row in enumerate(rows):
        values = {}
        for side, response in zip(("chosen", "rejected"), pairs[i][1:3], strict=True):
            ids = torch.tensor(np.concatenate([pairs[i].prompt, response]), dtype=torch.long)
            with torch.no_grad():
                logps = change(policy.model(input_ids=ids[None]).logits[0]).log_softmax(-1)
            first = len(pairs[i].prompt)
            values[f"{side}_token_logprobs"] = logps[range(first - 1, len(ids) - 1), ids[first:]].tolist()
        made.append({**row, **values})
    return made


def test_a_temperature_in_the_log_is_named(read: Read, logged_rows: Rows, deployed: Policy) -> None:
    pairs, _ = read(logged_rows)
    cooled = with_values(logged_rows, deployed, pairs, lambda logits: logits / 0.7)

    with pytest.raises(
        TrainingError, match=r"in 12 of 12 sampled rows .* Probable cause: temperature 0\.70, with which"
    ):
        read(cooled)


def test_one_changed_character_of_the_template_is_named(read: Read, logged_rows: Rows, repository: Path) -> None:
    other = load(repository / "data" / "sample" / "model", torch.device("cpu"), None)
    template = str(other.tokenizer.chat_template)
    other.tokenizer.chat_template = template.replace("{{ '<|assistant|>' }}", "{{ '<|assistant|> ' }}")
    assert len(other.tokenizer.chat_template) == len(template) + 1

    with pytest.raises(TrainingError, match=r"Probable cause: wrong template: the deployed model read another prompt"):
        read(logged_rows, other)


def test_rounded_weights_are_named(read: Read, logged_rows: Rows, deployed: Policy) -> None:
    """A deployment whose weights have 5 bits."""
    pairs, _ = read(logged_rows)
    with _rounded_weights(deployed.model, levels=15):
        rounded = with_values(logged_rows, deployed, pairs, lambda logits: logits)

    with pytest.raises(TrainingError, match="Probable cause: quantisation"):
        read(rounded)
    read(logged_rows)  # the weights are what they were


def test_one_changed_token_id_is_named(read: Read, logged_rows: Rows) -> None:
    """Found in every row, sampled or not: the ids no longer say the text."""
    ids = list(logged_rows[5]["rejected_token_ids"])
    ids[3] += 1

    with pytest.raises(PreflightError, match=r"re-tokenisation: of 1 rows .*: t5\."):
        read(changed(logged_rows, 5, rejected_token_ids=ids))


def test_one_changed_token_in_id_and_text_is_named(read: Read, logged_rows: Rows, deployed: Policy) -> None:
    """The text was changed with the id, so that only the log-probabilities tell: from that token on, in that row."""
    ids = list(logged_rows[5]["rejected_token_ids"])
    ids[3] += 1
    text = deployed.tokenizer.decode(ids, skip_special_tokens=True)
    edited = changed(logged_rows, 5, rejected_token_ids=ids, rejected=[say("assistant", str(text))])

    with pytest.raises(
        TrainingError, match=r"in 1 of 12 sampled rows .*: t5\. Probable cause: re-tokenisation, in the"
    ):
        read(edited)


def test_rows_without_logged_values_are_computed_and_counted(read: Read, logged_rows: Rows) -> None:
    """An edit has no log-probabilities; a redacted response has holes; a redacted prompt is not what was read."""
    rows = changed(logged_rows, 0, chosen_token_ids=None, chosen_token_logprobs=None)
    holes = [None, *rows[1]["chosen_token_ids"][1:]]
    rows = changed(rows, 1, chosen_token_ids=holes, chosen_token_logprobs=[None, *rows[1]["chosen_token_logprobs"][1:]])

    redacted = [say("user", "I am <EMAIL_1>. Who am I?")]  # the deployed model read the address
    rows = changed(rows, 2, prompt=redacted)

    pairs, result = read(rows)

    assert (result.logged, result.computed) == (9, 3)
    assert np.isfinite(pairs.reference).all()


REFUSED: list[tuple[str, type[WinnowError], str, Callable[[Rows], Rows]]] = [
    ("none", SettingsError, "no pair of .* has log-probabilities", lambda r: [{**x, "logprob_model": None} for x in r]),
    ("two models", SettingsError, r"of several models: support-3 \(11 rows\), b \(1 rows\)",
     lambda r: changed(r, 0, logprob_model="b")),
    ("an id that is no word", PreflightError, "unknown_token: 1 rows.*t2",
     lambda r: changed(r, 2, chosen_token_ids=[99999])),
    ("a value above 0", ContractError, "t3: a logged log-probability is no number of at most 0",
     lambda r: changed(r, 3, chosen_token_logprobs=[1.0])),
    ("one value less", PreflightError, "re-tokenisation: of 1 rows",
     lambda r: changed(r, 4, chosen_token_logprobs=r[4]["chosen_token_logprobs"][:-1])),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "change"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_log_that_cannot_be_used_is_refused(
    read: Read, logged_rows: Rows, error: type[WinnowError], message: str, change: Callable[[Rows], Rows]
) -> None:
    with pytest.raises(error, match=message):
        read(change(logged_rows))


def test_one_of_several_models_is_chosen_by_name(read: Read, logged_rows: Rows) -> None:
    _, result = read(changed(logged_rows, 0, logprob_model="b"), logged_model="support-3")

    assert (result.logged, result.computed) == (11, 1)


def test_the_sampled_tokens_are_trained_on_where_decoding_and_encoding_differ(
    read: Read, logged_rows: Rows, deployed: Policy, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model said the last word letter by letter, which its tokenizer would never do: decode and encode part."""
    text = logged_rows[1]["chosen"][0]["content"]
    tokenizer: Any = deployed.tokenizer
    letters = [token for letter in text for token in tokenizer.encode(letter, add_special_tokens=False)]
    letters.append(tokenizer.eos_token_id)
    assert tokenizer.decode(letters, skip_special_tokens=True) == text
    assert len(letters) > len(logged_rows[1]["chosen_token_ids"])
    rows = changed(logged_rows, 1, chosen_token_ids=letters)

    pairs, _ = read(rows, reference="computed")
    assert pairs[1].chosen.tolist() == letters
    assert "24 responses: 24 sampled" in capsys.readouterr().err
    pairs, _ = read(rows, reference="computed", sampled_tokens="off")
    assert pairs[1].chosen.tolist() == logged_rows[1]["chosen_token_ids"]
    assert "sampled" not in capsys.readouterr().err


def test_ids_that_do_not_say_the_text_or_do_not_stop_are_not_trained_on(
    read: Read, logged_rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = changed(logged_rows, 0, chosen=[say("assistant", "Edited.")])
    rows = changed(rows, 1, chosen_token_ids=rows[1]["chosen_token_ids"][:-1])
    rows = changed(rows, 2, chosen_token_ids=None)

    pairs, _ = read(rows, reference="computed")

    assert pairs[1].chosen.tolist() == logged_rows[1]["chosen_token_ids"]
    assert "24 responses: 21 sampled, 1 other text, 1 cut off, 1 not logged" in capsys.readouterr().err
