"""Direct preference optimisation of the deployed model on curated pairs: the command line.

    python -m train.dpo --data data/curated/latest/curated.parquet

Reads a Parquet file of pairs and a model folder; writes a run folder (`train.run` lists its files). Progress and tables
go to stderr; stdout is one line of JSON. docs/training.md explains every option.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from ingest import settings
from ingest.errors import SettingsError, WinnowError
from train import foreign, resume
from train.config import RunConfig

FIRST: Final = os.environ.get("RANK", "0") == "0"
"""Whether this is the first of the processes that torchrun started, or the only one."""
MATTERS_FIRST: Final = frozenset(
    {"data", "model", "output", "loss", "beta", "learning_rate", "epochs", "batch_size", "gradient_accumulation"}
    | {"lora_rank", "gradient_checkpointing", "max_length", "on_overlong", "seed", "device", "dtype", "validation"}
    | {"report_to"}
)
"""Options that --help shows first, with --resume and --dry-run."""
OPEN_DEFAULTS: Final = {
    "data": "required",
    "model": "train.model of winnow.toml",
    "output": "a folder in train.output of winnow.toml, named by data and options",
    "reference_cache": "reference, beside the output",
    "max_length": "what the model allows",
    "validation": "none",
    "label_smoothing": "none",
    "batch_tokens": "none",
    "margin_scale": "none",
    "ld_alpha": "none",
    "lora_rank": "none",
    "lora_alpha": "twice the rank",
    "logged_model": "the only one there",
}
"""Option -> what its default is where that is not a constant."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    made = parser()
    known, unknown = made.parse_known_args(argv)
    arguments = vars(known)
    # Everything a run writes was learnt from users' texts, so it is made for its owner alone.
    umask = os.umask(0o077)
    try:
        foreign.refuse(unknown)
        if unknown:
            made.error(f"unrecognized arguments: {' '.join(unknown)}")
        summary = _train(arguments)
    except WinnowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    finally:
        os.umask(umask)
    if FIRST:
        print(json.dumps(summary))  # noqa: T201
    return 0


def _train(arguments: dict[str, Any]) -> dict[str, Any]:
    """Run as the command line says and return the summary; a folder of our own that stayed empty is taken away."""
    config, resumes, dry = (arguments.pop(name, None) for name in ("config", "resume", "dry_run"))
    if resumes and dry:
        raise SettingsError("--dry-run starts nothing that --resume could go on with. Leave one of them out.")
    resolved = resolve(arguments, config, bool(resumes))
    try:
        # torch takes seconds to import: --help and wrong arguments answer without it.
        from train.run import run  # noqa: PLC0415

        return run(resolved, resumes=bool(resumes), dry=bool(dry))
    finally:
        if FIRST and "output" not in arguments and not any(resolved.output.iterdir()):
            resolved.output.rmdir()


def parser() -> argparse.ArgumentParser:
    """Return the parser: one option for each field of RunConfig, and --config."""
    made = argparse.ArgumentParser(
        prog="python -m train.dpo",
        description="Train the deployed model on preference pairs with DPO, offline.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    first, more = made.add_argument_group("what matters first"), made.add_argument_group("more")
    for name, field in RunConfig.model_fields.items():
        default = OPEN_DEFAULTS.get(name, field.default)
        (first if name in MATTERS_FIRST else more).add_argument(
            f"--{name.replace('_', '-')}",
            metavar=_metavar(field.annotation),
            help=f"{field.description} [{default}]".replace("%", "%%"),
        )
    first.add_argument(
        "--resume",
        action="store_true",
        help="Go on with the unfinished run of the same options; with --output, of that folder, whose options are then "
        "the defaults. Without such a run, start one. [off]",
    )
    first.add_argument(
        "--dry-run",
        action="store_true",
        help="Do all but train, and say how long the run would take and how much memory it needs. [off]",
    )
    more.add_argument("--config", type=Path, metavar="PATH", help="Settings file. [$WINNOW_CONFIG, else ./winnow.toml]")
    return made


def resolve(arguments: dict[str, Any], config: Path | None, resumes: bool = False) -> RunConfig:
    """Fill in from the run to resume, then from winnow.toml, what the command line leaves open, and check the whole.

    Raises SettingsError when there is no data or model or a value is wrong, ResumeError when the run to resume was
    started with other options.
    """
    workspace = settings.load(config).train
    before = resume.saved(Path(arguments["output"])) if resumes and "output" in arguments else None
    values = {"model": workspace.model, **(before or {}), **arguments}
    if "data" not in values:
        raise SettingsError("No data to train on. Give --data FILE, such as curated.parquet.")
    if values["model"] is None:
        raise SettingsError("No model to train. Give --model DIR, or set `model` in [train] of winnow.toml.")
    if values.get("reference") == "computed" and "reference_cache" in arguments:
        raise SettingsError("--reference-cache would change nothing with --reference computed. Leave it out.")
    folder = Path(values["output"]).parent if "output" in values else workspace.output
    values.setdefault("reference_cache", folder / "reference")
    if "output" not in values:
        named = RunConfig.checked({**values, "output": folder})
        found = resume.unfinished(folder, named) if resumes else None
        values["output"] = found or _new_folder(folder, named)
    resolved = RunConfig.checked(values)
    if before is not None:
        resume.refuse_other_options(resolved)
    return resolved


def _new_folder(folder: Path, config: RunConfig) -> Path:
    """Make a new folder in `folder`, named by the data file and the configuration, and return it.

    It is made here, before anything is read, so that no other run can choose it too; of several processes, the first
    makes it and tells the others. Raises SettingsError when it cannot be made.
    """
    name = f"{config.data.stem}-{config.fingerprint}"
    number, made = 1, folder / name
    if not FIRST:
        return made
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _made(made):
            number += 1
            made = folder / f"{name}-{number}"
    except OSError as error:
        raise SettingsError(f"{made} cannot be made: {error}. Name a folder with --output.") from error
    return made


def _made(folder: Path) -> bool:
    """Make `folder` and return True, or return False when it is there already."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _metavar(annotation: Any) -> str:
    """Return what --help shows for a value of this type: the choices, or PATH, INT, FLOAT, TEXT."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    return {"path": "PATH", "int": "INT", "float": "FLOAT", "str": "TEXT"}[kinds[0].__name__.lower()]


if __name__ == "__main__":
    sys.exit(main())
