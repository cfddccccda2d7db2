"""`python -m train.dpo --loss NAME` from end to end, columns that shape a loss, switches that would do nothing."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ingest.errors import SettingsError, TrainingError
from train.config import RunConfig
from train.dpo import main
from train.losses import LOSSES, Constants
from train.model import load
from train.objective import Objective
from train.step_zero import check_policy_is_reference

from .conftest import curated_table, json_lines, learnable_pairs, make_trainer, read_with_reference

TRAIN = 8
FAST = ("--learning-rate", "3e-3", "--batch-size", "4", "--gradient-accumulation", "1", "--log-every", "1")
NEEDED = {
    "cdpo": ("--label-smoothing", "0.1"),
    "robust": ("--label-smoothing", "0.1"),
    "exo": ("--label-smoothing", "0.1"),
    "discopop": ("--discopop-tau", "0.2"),  # at 0.05 its first steps lead away from chosen, see test_losses
}
AT_REFERENCE = {
    "sigmoid": math.log(2), "cdpo": math.log(2), "robust": math.log(2), "hinge": 1.0, "ipo": 25.0, "ipo_sum": 25.0,
    "sigmoid_norm": math.log(2), "exo": -math.log(2) - 0.5 * math.log(0.09), "apo_zero": 1.0, "apo_down": 1.0,
    "nca": 2 * math.log(2), "bco": 2 * math.log(2), "sppo": 50.0, "discopop": 0.5 * math.log(2) + 0.5,
    "aot": math.log(2),
}  # fmt: skip
"""At beta 0.1 and e = 0.1."""


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return curated_table(learnable_pairs(TRAIN, 3))


def run(folder: Path, table: pa.Table, model: Path, *options: str) -> int:
    pq.write_table(table, folder / "curated.parquet")
    paths = ("--data", str(folder / "curated.parquet"), "--model", str(model), "--output", str(folder / "run"))
    return main([*paths, *FAST, *options])


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_from_end_to_end(name: str, table: pa.Table, model_folder: Path, tmp_path: Path) -> None:
    """Its first value is the closed form, and two steps lower it on the pairs it is trained on."""
    assert run(tmp_path, table, model_folder, "--loss", name, "--epochs", "2", *NEEDED.get(name, ())) == 0

    zero = manifest(tmp_path)["step_zero"]
    lines = [line for line in json_lines(tmp_path / "run" / "metrics.jsonl") if "eval_loss" in line]
    assert zero["loss"] == pytest.approx(zero["expected"], rel=1e-3)
    if name in AT_REFERENCE:
        assert zero["expected"] == pytest.approx(AT_REFERENCE[name], rel=1e-6)
    assert lines[-1]["eval_loss"] < lines[0]["eval_loss"]


def test_a_mix_with_rpo_is_the_sum_of_both(table: pa.Table, model_folder: Path, tmp_path: Path) -> None:
    """At the reference: ln 2 + 0.5 * (mean of -log pi_ref(chosen) / tokens), the second from a run of its own."""
    (tmp_path / "sft").mkdir()
    assert run(tmp_path, table, model_folder, "--loss", "sigmoid,sft:0.5") == 0
    assert run(tmp_path / "sft", table, model_folder, "--loss", "sft") == 0
    mixed, alone = (manifest(folder)["step_zero"]["expected"] for folder in (tmp_path, tmp_path / "sft"))

    assert mixed == pytest.approx(math.log(2) + 0.5 * alone, rel=1e-9)


def test_noise_and_margins_of_rows_come_from_the_file(table: pa.Table, model_folder: Path, tmp_path: Path) -> None:
    """cDPO at the reference: (1 - e) log(1 + exp(m)) + e log(1 + exp(-m)), e and m each pair's own.

    A null e is 0.3, a null margin 0; m is twice the column.
    """
    noise = [None, *([0.1] * 10)]
    margin = [None, *[0.1 * i for i in range(10)]]
    given = table.set_column(table.schema.get_field_index("label_noise"), "label_noise", pa.array(noise, pa.float64()))
    given = given.set_column(given.schema.get_field_index("margin"), "margin", pa.array(margin, pa.float64()))
    options = ("--loss", "cdpo", "--label-noise", "column", "--label-smoothing", "0.3", "--margin-scale", "2")
    assert run(tmp_path, given, model_folder, *options) == 0

    pairs = zip([e or 0.3 for e in noise], [2 * (m or 0) for m in margin], strict=True)
    expected = [(1 - e) * math.log(1 + math.exp(m)) + e * math.log(1 + math.exp(-m)) for e, m in pairs]
    assert manifest(tmp_path)["step_zero"]["expected"] == pytest.approx(sum(expected) / 11, rel=1e-12)


def weights_after(table: pa.Table, model: Path, folder: Path, *options: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    assert run(folder, table, model, *options) == 0
    return load(folder / "run" / "model", torch.device("cpu"), None).model.state_dict()


def test_equal_noise_of_all_rows_trains_the_weights_of_label_smoothing(
    table: pa.Table, model_folder: Path, tmp_path: Path
) -> None:
    column = pa.array([0.2] * 11, pa.float64())
    given = table.set_column(table.schema.get_field_index("label_noise"), "label_noise", column)
    rows = weights_after(given, model_folder, tmp_path / "a", "--loss", "cdpo", "--label-noise", "column")
    same = weights_after(given, model_folder, tmp_path / "b", "--loss", "cdpo", "--label-smoothing", "0.2")
    other = weights_after(given, model_folder, tmp_path / "c", "--loss", "cdpo", "--label-smoothing", "0.4")

    assert all(torch.equal(rows[name], same[name]) for name in rows)
    assert not torch.equal(rows["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("options", [("--ld-alpha", "0.3"), ("--wpo", "on")], ids=["LD-DPO", "WPO"])
def test_ld_alpha_and_wpo_change_what_is_trained(
    table: pa.Table, model_folder: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    """The second run's reference comes from the first one's cache, which has every token, and step 0 holds."""
    plain = weights_after(table, model_folder, tmp_path / "a")
    cache = ("--reference-cache", str(tmp_path / "a" / "reference"))
    shaped = weights_after(table, model_folder, tmp_path / "b", *options, *cache)

    assert not torch.equal(plain["lm_head.weight"], shaped["lm_head.weight"])
    assert manifest(tmp_path / "b")["reference"]["computed"] == 0
    assert manifest(tmp_path / "b")["step_zero"]["loss"] == pytest.approx(math.log(2), abs=1e-5)


REFUSED = [
    (
        "smoothing of sigmoid",
        {"label_smoothing": 0.1},
        "--label-smoothing would change nothing with --loss sigmoid; it",
    ),
    (
        "noise of hinge",
        {"loss": "hinge", "label_noise": "column"},
        "--label-noise would change nothing with --loss hin",
    ),
    ("margin of ipo", {"loss": "ipo", "margin_scale": 1.0}, "--margin-scale would change nothing with --loss ipo; it"),
    ("beta of sft", {"loss": "sft", "beta": 0.2}, "--beta would change nothing with --loss sft"),
    (
        "gamma of sigmoid",
        {"simpo_gamma": 1.0},
        "--simpo-gamma would change nothing with --loss sigmoid; it acts with simpo",
    ),
    ("tau of a mix", {"loss": "sigmoid,sft:0.2", "discopop_tau": 1.0}, "--discopop-tau would change nothing"),
    ("tail of simpo", {"loss": "simpo", "ld_alpha": 0.5}, "--ld-alpha would change nothing with --loss simpo"),
    ("tail of a mix with sft", {"loss": "sigmoid,sft:0.2", "ld_alpha": 0.5}, "--ld-alpha is not defined for sft"),
    ("cdpo without noise", {"loss": "cdpo"}, "cdpo needs to know how many labels are wrong"),
    ("aot with weights of pairs", {"loss": "aot", "wpo": "on"}, "--wpo of pairs has no meaning"),
    ("no loss", {"loss": "dpo"}, "'dpo' is no loss"),
    ("a loss twice", {"loss": "sft,sft"}, "'sft' comes twice"),
    ("no factor", {"loss": "sigmoid,sft:-1"}, "'-1' is no factor"),
    ("empty factor", {"loss": "sigmoid,sft:"}, "'' is no factor"),
    ("factor of one loss", {"loss": "sigmoid:2"}, "only scales the step"),
    ("half of the labels wrong", {"loss": "cdpo", "label_smoothing": 0.5}, "--label-smoothing 0.5"),
]


@pytest.mark.parametrize(("given", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_switch_that_would_do_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        RunConfig.checked({"data": "d", "model": "m", "output": "o", "reference_cache": "r", **given})
    assert message in str(error.value)


COLUMNS = [
    ("no margin at all", ("--margin-scale", "1"), {}, "No pair has a margin above 0"),
    ("a negative margin", ("--margin-scale", "1"), {"margin": [-1.0] * 11}, "margin is -1.0; expected a number >= 0"),
    ("noise unknown", ("--loss", "cdpo", "--label-noise", "column"), {}, "11 of 11 pairs have no label_noise"),
    ("more wrong than right", ("--loss", "cdpo", "--label-noise", "column"), {"label_noise": [0.5] * 11}, "and < 0.5"),
    ("certain labels in exo", ("--loss", "exo", "--label-noise", "column"), {"label_noise": [0.0] * 11}, "exo needs"),
    (
        "nothing left to smooth",
        ("--loss", "cdpo", "--label-noise", "column", "--label-smoothing", "0.1"),
        {"label_noise": [0.1] * 11},
        "--label-smoothing would change nothing",
    ),
    ("weights in aot", ("--loss", "aot"), {"weight": [2.0, *[1.0] * 10]}, "The data has row weights, but --loss aot"),
]


@pytest.mark.parametrize(("options", "columns", "message"), [c[1:] for c in COLUMNS], ids=[c[0] for c in COLUMNS])
def test_columns_that_a_loss_cannot_take_are_refused(
    table: pa.Table, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...], columns: dict[str, list[float]], message: str,
) -> None:  # fmt: skip
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.float64()))

    assert run(tmp_path, table, model_folder, *options) in (2, 3)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_its_closed_form_is_caught_before_the_first_step(
    table: pa.Table, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    wrong = type(LOSSES["hinge"])(LOSSES["hinge"].per_pair, LOSSES["sigmoid"].at_reference)
    monkeypatch.setitem(LOSSES, "hinge", wrong)

    assert run(tmp_path, table, model_folder, "--loss", "hinge") == 9
    assert "not its closed form" in capsys.readouterr().err


def test_ld_alpha_reaches_the_reference_and_the_policy_alike(model_folder: Path, tmp_path: Path) -> None:
    """A cache read without alpha, a policy with it: the responses differ in length, so step 0 must fail."""
    pq.write_table(curated_table(learnable_pairs(TRAIN, 3)), tmp_path / "curated.parquet")
    policy = load(model_folder, torch.device("cpu"), None)
    pairs = read_with_reference(policy, tmp_path / "curated.parquet")
    halved = Objective({"sigmoid": 1.0}, Constants(), ld_alpha=0.5)
    trainer = make_trainer(policy, pairs, tmp_path, order="length", objective=halved)

    with pytest.raises(TrainingError, match="Before the first step the policy must be the reference"):
        check_policy_is_reference(trainer, pairs)
    halves = read_with_reference(policy, tmp_path / "curated.parquet", 0.5)
    trainer = make_trainer(policy, halves, tmp_path, order="length", objective=halved)
    assert check_policy_is_reference(trainer, halves).largest_gap < 1e-4
