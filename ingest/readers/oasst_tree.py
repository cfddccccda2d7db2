"""Reads OpenAssistant's conversation trees: `{"message_tree_id", "tree_state", "prompt": {..., "replies": [...]}}`.

Every assistant's reply is a response to the path above it. Where two or more replies to one message have ranks, they
are one event of the signal `rank`: its target is the best (rank 0), its others follow from better to worse.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.readers.fields import Fields
from ingest.readers.preference import turn
from ingest.readers.reading import Feedback, Interaction, Reading, Ref
from ingest.schema import Message

ROLES = ("prompter", "assistant")

EXPORTED = "ready_for_export"
"""The state of a tree that was finished and reviewed."""
UNFINISHED = (
    "initial_prompt_review",
    "prompt_lottery_waiting",
    "growing",
    "ranking",
    "ready_for_scoring",
    "scoring_failed",
    "backlog_ranking",
    "aborted_low_grade",
    "halted_by_moderator",
)
"""Every other state of Open-Assistant's message trees."""


class OASSTTree:
    """The reader of the format."""

    name: str = "oasst_tree"
    version: int = 1

    def sniff(self, record: Mapping[str, object]) -> bool:
        """Return whether the record is a tree."""
        return "message_tree_id" in record and isinstance(record.get("prompt"), Mapping)

    def read(self, record: Mapping[str, object]) -> Reading:
        """Return every reply and every ranking; an unfinished tree is skipped."""
        row = Fields(record)
        state = row.one_of("tree_state", (EXPORTED, *UNFINISHED)) if row.has("tree_state") else EXPORTED
        if state != EXPORTED:
            return Reading(skipped=f"tree_{state}")
        tree = _Tree(row.text("message_tree_id"))
        tree.walk(row.child("prompt"))
        if not tree.interactions:
            return Reading(skipped="no_response")
        return Reading(tuple(tree.interactions), tuple(tree.rankings), skipped_parts=dict(tree.left_out))


def _replies(message: Fields) -> list[Fields]:
    return list(message.children("replies")) if message.has("replies") else []


@dataclass
class _Tree:
    """What was found so far."""

    tree_id: str
    interactions: list[Interaction] = field(default_factory=list)
    rankings: list[Feedback] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def walk(self, root: Fields) -> None:
        """Read the tree, without recursion: its depth is the source's."""
        nodes: list[tuple[Fields, list[Message], str | None]] = [(root, [], None)]
        while nodes:
            message, above, answered = nodes.pop()
            role = message.one_of("role", ROLES)
            path = [*above, turn("user" if role == "prompter" else "assistant", message.text("text"))]
            if role == "assistant":
                self.interactions.append(self._reply(message, path, answered))
                answered = message.text("message_id")
            kept = [reply for reply in _replies(message) if self._is_kept(reply)]
            self._rank(message, kept)
            nodes += [(reply, path, answered) for reply in reversed(kept)]

    def _is_kept(self, reply: Fields) -> bool:
        """Return whether a message still stands; the responses under one that does not go with it, and are counted."""
        reason = "deleted" if reply.maybe_flag("deleted") else "failed_review"
        if reason != "deleted" and reply.maybe_flag("review_result") is not False:
            return True
        under = [reply]
        while under:
            message = under.pop()
            self.left_out[reason] += message.one_of("role", ROLES) == "assistant"
            under += _replies(message)
        return False

    def _reply(self, message: Fields, path: list[Message], answered: str | None) -> Interaction:
        if len(path) < 2:
            message.bad("role", "a tree that begins with a prompter")
        return Interaction(
            source_id=message.text("message_id"),
            conversation_id=self.tree_id,
            parent_id=answered,
            turn_index=sum(said["role"] == "user" for said in path) - 1,
            prompt=path[:-1],
            response=path[-1:],
            model=message.name("model_name"),
            event_time=message.time("created_date") if message.has("created_date") else None,
        )

    def _rank(self, message: Fields, replies: list[Fields]) -> None:
        """Add the ranking of the replies to one message, if at least two are ranked."""
        ranks = {r.integer("rank"): r for r in replies if r.has("rank") and r.values.get("role") == "assistant"}
        if len(ranks) < sum(r.has("rank") and r.values.get("role") == "assistant" for r in replies):
            message.bad("replies", "replies of different ranks")
        if len(ranks) > 1:
            best, *others = (Ref(ranks[rank].text("message_id")) for rank in sorted(ranks))
            self.rankings.append(
                Feedback(source_id=message.text("message_id"), signal="rank", target=best, others=others)
            )
