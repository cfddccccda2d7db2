"""Logs what a client of the `openai` package asks and is answered: plain, asynchronous, streamed, n > 1, and failures.

    client = logged(OpenAI(), DeploymentLog("data/raw"))
    with log.turn(conversation_id="c-7", user_id="u-1") as turn:
        answer = client.chat.completions.create(model="m", messages=messages)
    log.thumb(turn.id, up=True)

The client stays what it is, and so does what it returns: chunks pass as they come. Log-probabilities are asked for
where the caller did not say whether it wants them, kept for the log, and taken out of what the caller sees; a model
whose server refuses them is asked once more without, and never again with. Nothing here raises that the client would
not; what it could not log it counts.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ingest.logger import DeploymentLog
from ingest.openai_calls import Call, Shared

Client = TypeVar("Client")


def logged(client: Client, log: DeploymentLog, *, logprobs: bool = True) -> Client:
    """Make the client log `chat.completions` and `responses` to `log`, and return it.

    What `copy` and `with_options` make of it logs too. `logprobs` False asks for none.
    """
    if getattr(client, "_winnow_log", None) is not log:
        _attach(client, Shared(log, logprobs))
    return client


def _attach(unlogged: Any, shared: Shared) -> None:
    """Put logging methods into the client; what it copies itself to shares what is remembered of servers."""
    unlogged._winnow_log = shared.log
    hook = _Hook(shared, str(unlogged.base_url))
    for resource, is_chat in ((unlogged.chat.completions, True), (unlogged.responses, False)):
        for name in ("create", "parse"):
            setattr(resource, name, hook.around(getattr(resource, name), is_chat=is_chat))
    copy = unlogged.copy

    @functools.wraps(copy)
    def copied(*args: Any, **kwargs: Any) -> Any:
        made = copy(*args, **kwargs)
        _attach(made, shared)
        return made

    unlogged.copy = unlogged.with_options = copied


class _Hook:
    """The methods of one client."""

    def __init__(self, shared: Shared, server: str) -> None:
        self._shared = shared
        self._server = server

    def around(self, method: Callable[..., Any], *, is_chat: bool) -> Callable[..., Any]:
        """Return the method with its calls logged; a coroutine where it is one."""

        @functools.wraps(method)
        def create(*args: Any, **kwargs: Any) -> Any:
            call = self._begin(is_chat, kwargs)
            if call is None:
                return method(*args, **kwargs)
            try:
                try:
                    result = method(*args, **call.sent)
                except Exception as error:
                    if not call.may_ask_again(error):
                        raise
                    result = method(*args, **kwargs)
                    call.refused()
            except BaseException as error:
                call.failed(error)
                raise
            return call.returned(result)

        @functools.wraps(method)
        async def create_async(*args: Any, **kwargs: Any) -> Any:
            call = self._begin(is_chat, kwargs)
            if call is None:
                return await method(*args, **kwargs)
            try:
                try:
                    result = await method(*args, **call.sent)
                except Exception as error:
                    if not call.may_ask_again(error):
                        raise
                    result = await method(*args, **kwargs)
                    call.refused()
            except BaseException as error:
                call.failed(error)
                raise
            return call.returned(result)

        return create_async if inspect.iscoroutinefunction(inspect.unwrap(method)) else create

    def _begin(self, is_chat: bool, kwargs: Mapping[str, Any]) -> Call | None:
        """Return a call, or None, which is counted, for arguments of which only the client can say what is wrong."""
        try:
            return Call(self._shared, self._server, is_chat, kwargs)
        except Exception:
            self._shared.not_logged()
            return None
