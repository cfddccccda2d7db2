"""bench.train at a size that takes seconds: its arms compute the same, its counts are right, its gate shuts."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import train
from bench.train import ARMS, BASELINE, Found, Shape, flops, gap
from bench.train_arms import run

TINY: dict[str, Any] = {
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "prompt": 24,
    "response": 4,
    "steps": 4,
    "pairs": 2,
    "model": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 200,
    },
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What every arm measured."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TQDM_DISABLE", "1")
        measured = {arm: run(TINY | {"arm": arm, "folder": str(folder)}) for arm in ARMS}
    return {arm: Found(**values | {"weights": Path(values["weights"])}) for arm, values in measured.items()}


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_every_arm_has_the_losses_and_weights_of_the_baseline(found: dict[str, Found]) -> None:
    for arm in ARMS:
        assert len(found[arm].losses) == 4
        assert max(gap(found[arm], found[BASELINE])) < 1e-5, arm
    assert len(set(found[BASELINE].losses)) == 4  # it has trained


def test_what_an_arm_feeds_to_the_model(found: dict[str, Found]) -> None:
    """Two pairs: 2 (24 + 4 + 4) tokens with shared prompts, 4 (24 + 4) without."""
    fed = {arm: one.fed for arm, one in found.items()}

    assert fed == {arm: 64 if arm == "Winnow" else 112 for arm in ARMS}


def test_three_steps_are_timed_and_the_first_is_not(found: dict[str, Found]) -> None:
    assert {len(one.cpu_s) for one in found.values()} == {3}
    assert all(one.gemm_per_cpu_s > 0 for one in found.values())


def test_operations_of_a_step_worked_by_hand() -> None:
    """One layer, width 2, inner width 3, V 5, P 3, C = R 1; per pair 8 tokens of 4 * 4 + 3 * 6 = 34 weights and
    2 * 2 * 4 / 2 = 8 of attention, and 2 response tokens of 10: 8 * 42 + 20 = 356; 6 operations each, 4 pairs."""
    model = {"num_hidden_layers": 1, "hidden_size": 2, "intermediate_size": 3}

    assert flops(Shape(3, 1), 5, model) == 6 * 4 * 356


@pytest.mark.parametrize(("gap_of_winnow", "shown"), [(2e-5, "2e-05"), (float("nan"), "nan")])
def test_arms_that_differ_get_no_speed(
    found: dict[str, Found],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    gap_of_winnow: float,
    shown: str,
) -> None:
    def measure(_: Path, arm: str, *__: object) -> Found:
        off = gap_of_winnow if arm == "Winnow" else 0.0
        return replace(found[BASELINE], losses=[loss + off for loss in found[BASELINE].losses])

    monkeypatch.setattr(train, "measure", measure)
    arguments = train.parser().parse_args(["--repeats", "1"])

    assert not train.compare(tmp_path, "balanced", 2048, arguments)
    said = capsys.readouterr().out
    assert "FAIL, no speed: balanced" in said
    assert f"Winnow: losses differ by {shown}" in said
