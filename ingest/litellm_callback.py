"""Logs what LiteLLM serves, in its own payload, which `ingest.readers.litellm` reads.

    litellm.callbacks = [WinnowCallback(DeploymentLog("data/raw"))]

Feedback names a call by the id of its response (`chatcmpl-...`), which is the payload's. LiteLLM calls the methods
below by keyword, once a call, and only those of its own `CustomLogger`, which is the base where LiteLLM is installed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ingest.logger import DeploymentLog

if TYPE_CHECKING:
    _Base = object
else:
    try:
        from litellm.integrations.custom_logger import CustomLogger as _Base
    except ImportError:
        _Base = object

PAYLOAD = "standard_logging_object"
"""Where LiteLLM keeps the payload among a call's details."""


class WinnowCallback(_Base):
    """A logger of LiteLLM, for its library and its proxy."""

    def __init__(self, log: DeploymentLog) -> None:
        super().__init__()
        self.log = log

    def log_success_event(self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Log a call that was answered; of a stream, once it is whole."""
        self._record(kwargs)

    def log_failure_event(self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Log a call that failed."""
        self._record(kwargs)

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Log an asynchronous call that was answered."""
        self._record(kwargs)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Log an asynchronous call that failed."""
        self._record(kwargs)

    def _record(self, kwargs: Mapping[str, Any]) -> None:
        payload = kwargs.get(PAYLOAD)
        if isinstance(payload, Mapping):
            self.log.record(payload)
        else:
            self.log.not_logged()
