"""Every error that Winnow raises on purpose, as one tree.

    WinnowError
    ├── SettingsError       winnow.toml or an argument is wrong
    ├── ContractError       a table or file does not have the columns, types or values its contract names
    ├── LakeError           the lake cannot be read or written
    │   └── LakeBusyError   another run holds the lake
    ├── QuarantineError     a run put more into quarantine than the settings allow; what it read is in the lake
    ├── GapError            something is missing from the logs, and `status --check` was to say so
    ├── StoppedError        a signal ended a run early; what it read is in the lake
    ├── RecordError         one record cannot be read; carries a reason code, and ends in quarantine
    ├── RecipeError         a curation recipe is wrong
    ├── RuleError           a rule gave NULL, or dropped everything
    ├── GateError           a validation suite failed: nothing was published
    ├── SnapshotError       a published snapshot is not what its manifest says, or is none
    ├── StoreError          the label store refused or failed
    ├── BallotError         what an annotator sent is no verdict that the task allows
    ├── ErasureError        what a user said is still somewhere after an erasure
    └── TrainingError       a training run must not start or go on
        ├── PreflightError  the data would have to be damaged to be trained on
        └── ResumeError     the checkpoint belongs to other data or another configuration

A message says what came, what was expected and what to do. Command-line entry points print it on stderr without a
traceback and exit with `exit_code`. docs/operations.md lists the codes of `python -m ingest run`.
"""

from signal import Signals


class WinnowError(Exception):
    """Base of every error Winnow raises on purpose."""

    exit_code: int = 1
    """What a command returns to the shell when this error ends it."""


class SettingsError(WinnowError):
    """winnow.toml or a command-line argument is wrong."""

    exit_code = 2


class ContractError(WinnowError):
    """A table or file does not keep its contract (`ingest.schema`)."""

    exit_code = 3


class LakeError(WinnowError):
    """The lake cannot be read or written."""

    exit_code = 4


class LakeBusyError(LakeError):
    """Another run holds the lake's lock."""

    exit_code = 5


class QuarantineError(WinnowError):
    """A run put more into quarantine than [limits] allows. What it read is in the lake, and paired."""

    exit_code = 12


class GapError(WinnowError):
    """Something is missing from the logs (`ingest.gaps`), and `status --check` was to say so."""

    exit_code = 14


class StoppedError(WinnowError):
    """A signal ended a run early. What it read is in the lake; the next run goes on behind it."""

    def __init__(self, number: Signals) -> None:
        super().__init__(f"{number.name} ended the run early. What was read is committed; run again to go on.")
        self.exit_code = 128 + number
        """As shells report a process that a signal ended."""


class RecordError(WinnowError):
    """One record cannot be read.

    `reason` is one of `ingest.schema.QUARANTINE_REASONS`; `detail` is a sentence that quotes no user text.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RecipeError(WinnowError):
    """A curation recipe is wrong."""

    exit_code = 2


class RuleError(WinnowError):
    """A curation rule gave NULL for some rows, or dropped every row."""

    exit_code = 6


class GateError(WinnowError):
    """A validation suite failed, so nothing was published."""

    exit_code = 7


class SnapshotError(WinnowError):
    """A published snapshot is not what its manifest says, or there is none where one is named."""

    exit_code = 15


class StoreError(WinnowError):
    """The label store refused or failed an operation."""

    exit_code = 8


class BallotError(WinnowError):
    """What an annotator sent is no verdict that the task allows; the message says it to them."""


class ErasureError(WinnowError):
    """After an erasure, files still hold what the user said."""

    exit_code = 13


class TrainingError(WinnowError):
    """A training run must not start, or must not go on."""

    exit_code = 9


class PreflightError(TrainingError):
    """The data would have to be damaged to be trained on."""

    exit_code = 10


class ResumeError(TrainingError):
    """A checkpoint belongs to other data or another configuration."""

    exit_code = 11
