"""Completes prompts that a log states only as an addition to an earlier response.

Reads and rewrites rows of `interactions` whose status is "awaits_parent"; part of `python -m ingest run`. Such a row's
prompt holds what was added after the response that `parent_id` names (OpenAI Responses' `previous_response_id`). As
soon as that response is in the lake and its own prompt is whole, this one's becomes: the parent's prompt without the
instructions, which do not carry over; the parent's response; what was added; in all of it one placeholder stands for
one value (`ingest.numbering`). Files may come in any order. A row whose
parent never comes keeps its status, and is part of no triple.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ingest import schema
from ingest.lake import Lake
from ingest.numbering import Numbering
from ingest.schema import content_id, interaction_id, messages_hash

if TYPE_CHECKING:
    import duckdb

_CHILDREN: Final = """
    SELECT child.* FROM interactions AS child JOIN family ON child.interaction_id = family.child
    WHERE family.parent IN (SELECT interaction_id FROM whole)
"""
_PARENTS: Final = """
    SELECT interaction_id, prompt, response, sampling, placeholders FROM interactions
    WHERE interaction_id IN (SELECT parent FROM family) AND status IS DISTINCT FROM 'awaits_parent'
"""


def complete(lake: Lake) -> tuple[int, int]:
    """Complete every prompt that can be; return how many were, and how many still wait for their parent."""
    if "awaits_parent" not in lake.read("interactions", ["status"])["status"].unique().to_pylist():
        return 0, 0
    with lake.database() as connection:
        lake.view(connection, "interactions")
        waiting = connection.execute(
            "SELECT interaction_id, source, parent_id FROM interactions WHERE status = 'awaits_parent'"
        ).fetchall()
        children: dict[str, list[str]] = {}
        for child, source, parent_id in waiting:
            children.setdefault(interaction_id(source, parent_id), []).append(child)
        completed = _completed(connection, children)
    if completed:
        lake.replace("interactions", pa.Table.from_pylist(completed, schema=schema.INTERACTION))
    return len(completed), len(waiting) - len(completed)


def _completed(connection: "duckdb.DuckDBPyConnection", children: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Return the rows whose prompt is whole now; `children` is interaction_id of the parent -> of those that wait."""
    pairs = [(parent, child) for parent, waiting in children.items() for child in waiting]
    family = pa.table({"parent": [p for p, _ in pairs], "child": [c for _, c in pairs]})
    connection.register("family", family)
    parents = {row["interaction_id"]: row for row in connection.sql(_PARENTS).to_arrow_table().to_pylist()}
    reachable, wave = list(parents), list(parents)
    while wave:  # from the responses that are whole down to their last descendants
        wave = [child for parent in wave for child in children.get(parent, ())]
        reachable += wave
    connection.register("whole", pa.table({"interaction_id": pa.array(reachable, pa.string())}))
    rows = {row["interaction_id"]: row for row in connection.sql(_CHILDREN).to_arrow_table().to_pylist()}
    done, wave = [], list(parents)
    while wave:
        following = [(parents[parent], rows[child]) for parent in wave for child in children.get(parent, ())]
        done += [_continued(parent, child) for parent, child in following]
        wave = [child["interaction_id"] for _, child in following]
        parents = {child: rows[child] for child in wave}
    return done


def _continued(parent: Mapping[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Complete `child` in place, and return it; placeholders count up over the whole prompt, then the response."""
    own = list(child["prompt"])
    head = [own.pop(0)] if _has_instructions(child) else []
    earlier = parent["prompt"][1:] if _has_instructions(parent) else parent["prompt"]
    theirs, ours = dict(parent["placeholders"]), dict(child["placeholders"])
    numbering = Numbering({})
    if child["tools"]:
        child["tools"] = numbering.text(child["tools"], ours)
    parts = ((head, ours), ([*earlier, *parent["response"]], theirs), (own, ours))
    child["prompt"] = [message for messages, digests in parts for message in numbering.messages(messages, digests)]
    child["response"] = numbering.messages(child["response"], ours)
    if child["sampling"]:
        child["sampling"] = numbering.text(child["sampling"], ours)
    child["placeholders"] = sorted(numbering.digests.items())
    child["prompt_hash"] = messages_hash(child["prompt"])
    child["response_hash"] = messages_hash(child["response"])
    child["sibling_group"] = content_id(["siblings", child["source"], child["conversation_id"], child["prompt_hash"]])
    child["status"] = "ok"
    return child


def _has_instructions(row: Mapping[str, Any]) -> bool:
    """Return whether the first message is instructions, which count for this response alone."""
    return bool(json.loads(row["sampling"] or "{}").get("instructions"))
