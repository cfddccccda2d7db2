"""A conversation as a tree: every message names its parent, and answers to the same message are siblings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.schema import Message


@dataclass(frozen=True)
class Node:
    """One message of a tree."""

    parent: str | None
    """Id of the message it follows; None at a root."""
    says: list[Message] = field(default_factory=list)
    """Empty where it is no part of what the model reads."""


def prompt(nodes: Mapping[str, Node], node_id: str) -> list[Message] | None:
    """Return what was said from the root down to the parent of `node_id`; None where an ancestor is missing.

    Messages that name each other as parents, which no client writes, have no root either.
    """
    path: list[list[Message]] = []
    seen = {node_id}
    above = nodes[node_id].parent
    while above is not None:
        if above in seen or above not in nodes:
            return None
        seen.add(above)
        path.append(nodes[above].says)
        above = nodes[above].parent
    return [message for says in reversed(path) for message in says]
