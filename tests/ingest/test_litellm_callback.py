"""The callback as LiteLLM calls it: by keyword, with the payload among the call's details."""

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest

from ingest import litellm_callback
from ingest.logger import DeploymentLog

from .conftest import Workspace, run_async

PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "trace_id": "t-1",
    "call_type": "acompletion",
    "stream": True,
    "status": "success",
    "startTime": 1790842530.0,
    "endTime": 1790842530.5,
    "model": "m",
    "end_user": "u-1",
    "metadata": {},
    "messages": [{"role": "user", "content": "How?"}],
    "response": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790842530,
        "model": "m-01",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}],
    },
    "model_parameters": {"temperature": 0.5},
}


def call(**payload: Any) -> dict[str, Any]:
    details = {"standard_logging_object": {**PAYLOAD, **payload}} if payload.pop("payload", True) else {}
    return {"kwargs": details, "response_obj": None, "start_time": None, "end_time": None}


def test_calls_are_in_the_lake_under_the_ids_of_their_responses(workspace: Workspace) -> None:
    log = DeploymentLog(workspace.logs, linger_seconds=0.001)
    callback = litellm_callback.WinnowCallback(log)
    callback.log_success_event(**call())
    run_async(callback.async_log_success_event(**call(id="chatcmpl-2")))
    callback.log_failure_event(**call(id="3", status="failure", error_information={"error_code": "429"}))
    run_async(callback.async_log_failure_event(**call(id="4", status="failure")))
    callback.log_success_event(**call(payload=False))
    log.thumb("chatcmpl-2", up=True)
    assert log.close()
    summary = workspace.run()
    assert workspace.rows("interactions", "source_id", "latency_ms") == [("chatcmpl-1", 500.0), ("chatcmpl-2", 500.0)]
    assert summary.skipped() == {"http_status_429": 1, "failure": 1, "lost_not_logged": 1}
    assert workspace.rows("feedback", "interaction_id")[0] in workspace.rows("interactions", "interaction_id")


def test_it_is_one_of_litellms_loggers_where_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM calls nothing that is no CustomLogger."""
    names = ("litellm", "litellm.integrations", "litellm.integrations.custom_logger")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    class CustomLogger:
        """As LiteLLM's."""

    monkeypatch.setattr(sys.modules[names[-1]], "CustomLogger", CustomLogger, raising=False)
    with monkeypatch.context():
        installed = importlib.reload(litellm_callback)
        assert issubclass(installed.WinnowCallback, CustomLogger)
    monkeypatch.undo()
    importlib.reload(litellm_callback)
