"""Which options act with which loss: a switch that would change nothing is refused, never ignored.

Imports no torch, so that wrong arguments are answered at once. The losses themselves are in `train.losses`.
"""

from collections.abc import Mapping, Set
from typing import Final

from ingest.errors import SettingsError

_BETA = frozenset({"beta", "ld_alpha"})
_NOISY = frozenset({"label_smoothing", "label_noise"})

ACTS: Final[Mapping[str, frozenset[str]]] = {
    "sigmoid": _BETA | {"margin_scale"},
    "cdpo": _BETA | _NOISY | {"margin_scale"},
    "robust": _BETA | _NOISY | {"margin_scale"},
    "hinge": _BETA | {"margin_scale"},
    "ipo": _BETA,
    "ipo_sum": _BETA,
    "sigmoid_norm": _BETA | {"margin_scale"},
    "simpo": frozenset({"beta", "simpo_gamma"}),
    "orpo": frozenset({"beta"}),
    "exo": _BETA | _NOISY,
    "apo_zero": _BETA,
    "apo_down": _BETA,
    "nca": _BETA,
    "bco": _BETA,
    "sppo": _BETA,
    "discopop": _BETA | {"discopop_tau"},
    "aot": _BETA | {"label_smoothing"},
    "sft": frozenset(),
}
"""Loss -> the options of a recipe that act on it."""

SWITCHES: Final = frozenset().union(*ACTS.values())
"""Options that act with some losses only."""
NEEDS_NOISE: Final = frozenset({"cdpo", "robust", "exo"})
"""Losses that are another one, or undefined, where no label can be wrong."""
NO_TAIL: Final = frozenset({"simpo", "orpo", "sft"})
"""Losses of the policy's own token means, which LD-DPO says nothing about."""


def parse(text: str) -> dict[str, float]:
    """Return loss -> its factor: "sigmoid" is one loss, "sigmoid,sft:0.2" is sigmoid + 0.2 sft.

    Raises SettingsError for a name that is no loss, a loss named twice, and a factor that is no number above 0.
    """
    parts: dict[str, float] = {}
    for item in text.split(","):
        name, _, factor = item.strip().partition(":")
        if name not in ACTS or name in parts:
            problem = "comes twice" if name in parts else "is no loss"
            raise SettingsError(
                f"--loss {text!r}: {name!r} {problem}. Losses: {', '.join(ACTS)}; mixes: sigmoid,sft:0.2."
            )
        parts[name] = _factor(text, factor) if factor or item.strip().endswith(":") else 1.0
    if len(parts) == 1 and set(parts.values()) != {1.0}:
        raise SettingsError(f"--loss {text!r}: the factor of a single loss only scales the step; use --learning-rate.")
    return parts


def _factor(text: str, factor: str) -> float:
    try:
        value = float(factor)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SettingsError(
            f"--loss {text!r}: {factor!r} is no factor; expected a number above 0, as in sigmoid,sft:0.2."
        )
    return value


def refuse_no_effect(loss: str, given: Set[str]) -> None:
    """Raise SettingsError when one of the `given` options changes nothing, or something undefined, with `loss`."""
    parts = parse(loss)
    for switch in sorted(SWITCHES & given):
        if not any(switch in ACTS[name] for name in parts):
            fits = ", ".join(name for name, acts in ACTS.items() if switch in acts)
            raise SettingsError(
                f"{_option(switch)} would change nothing with --loss {loss}; it acts with {fits}. Leave it out."
            )
    if (needy := NEEDS_NOISE & set(parts)) and not given & _NOISY:
        raise SettingsError(
            f"--loss {loss}: {min(needy)} needs to know how many labels are wrong. "
            "Give --label-smoothing, or --label-noise column."
        )
    if "ld_alpha" in given and (undefined := NO_TAIL & set(parts)):
        raise SettingsError(f"--ld-alpha is not defined for {min(undefined)}, which has means of whole responses.")
    if "aot" in parts and (rows := {"label_noise", "margin_scale", "wpo"} & given):
        raise SettingsError(
            f"--loss {loss}: aot compares the sorted gaps of a batch, so {_option(min(rows))} of pairs has no meaning."
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
