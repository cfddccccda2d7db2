"""The learning rate's course, worked by hand."""

import math

import pytest

from train.schedule import rate

COURSES = [
    ("one step", "linear", 0.1, [1.0]),
    ("warm-up of one step", "linear", 0.25, [1.0, 1.0, 2 / 3, 1 / 3]),
    ("warm-up of two steps", "linear", 0.5, [1 / 2, 1.0, 1.0, 1 / 2]),
    ("constant", "constant", 0.5, [1 / 2, 1.0, 1.0, 1.0]),
    ("cosine", "cosine", 0.0, [1.0, (1 + math.sqrt(1 / 2)) / 2, 1 / 2, (1 - math.sqrt(1 / 2)) / 2]),
]


@pytest.mark.parametrize(("name", "ratio", "course"), [c[1:] for c in COURSES], ids=[c[0] for c in COURSES])
def test_every_step_has_its_share_of_the_peak(name: str, ratio: float, course: list[float]) -> None:
    share = rate(name, ratio, len(course))

    assert [share(step) for step in range(len(course))] == pytest.approx(course)
