"""Records are counted one by one, also where one line holds several, and where such a line ends in quarantine."""

import json
from collections.abc import Callable
from typing import Any

from tests.ingest.conftest import Workspace


def test_a_line_of_two_choices_of_which_one_does_not_fit_is_one_quarantined_record(
    workspace: Workspace, interaction: Callable[..., dict[str, Any]]
) -> None:
    """Half of a surrogate pair, in the body that a gateway recorded as text, is JSON but fits in no column."""
    message = {"role": "assistant", "content": "x"}
    body = json.dumps({"id": "c", "choices": [{"index": i, "message": message} for i in range(2)]})
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    bad = {
        "kind": "openai_chat",
        "status": 200,
        "request": request,
        "response_raw": body.replace('"x"', '"\\ud800"', 1),
    }
    (workspace.logs / "log.jsonl").write_text(json.dumps(bad) + "\n" + json.dumps(interaction(2)) + "\n")
    assert workspace.run().totals() == {
        "lines": 2,
        "records": 2,
        "interactions": 1,
        "feedback": 0,
        "quarantined": 1,
        "skipped": 0,
    }
    assert workspace.rows("quarantine", "reason", "detail") == [("bad_value", "A value does not fit its column.")]
