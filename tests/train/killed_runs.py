"""Runs `train.dpo` several times in processes forked from one that has loaded everything, each killed where it is told.

    python tests/train/killed_runs.py '[["a", "step", 3, 1], ["a", "write", 2], ["b"]]' --data ...

Each item is one run into a folder: killed by SIGKILL at micro-batch 1 of optimiser step 3, at the second file of a
checkpoint that is brought to the disk, or not at all. Prints the exit code of each as a JSON list; -9 is killed.
"""

import json
import os
import signal
import sys
from typing import Any

import torch

from train import checkpoint
from train.dpo import main
from train.run import run as _loads_everything  # noqa: F401
from train.trainer import DPOTrainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_step(step: int, micro_batch: int) -> None:
    train, seen = DPOTrainer.training_step, dict[int, int]()

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        done = self.state.global_step
        if done == step and seen.get(done, 0) == micro_batch:
            die()
        seen[done] = seen.get(done, 0) + 1
        return train(self, *args, **kwargs)

    DPOTrainer.training_step = training_step  # type: ignore[method-assign]


def die_in_write(files: int) -> None:
    to_disk, written = checkpoint._to_disk, list[object]()

    def counted(path: Any) -> None:
        written.append(path)
        if len(written) == files:
            die()
        to_disk(path)

    checkpoint._to_disk = counted


def one_run(output: str, death: list[Any], arguments: list[str]) -> int:
    """Return the exit code of one run, made in a child process."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if death[:1] == ["step"]:
        die_in_step(*death[1:])
    elif death[:1] == ["write"]:
        die_in_write(*death[1:])
    os._exit(main(["--output", output, *arguments]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    codes = [one_run(output, death, sys.argv[2:]) for output, *death in json.loads(sys.argv[1])]
    sys.stdout.write(json.dumps(codes) + "\n")
