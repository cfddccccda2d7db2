"""One call of an `openai` client, from its arguments to its line in the log; `ingest.logged_openai` begins them.

Nothing here raises: what goes wrong is counted as `not_logged`.
"""

import contextvars
import functools
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.logger import DeploymentLog, Stated, current_turn, new_id
from ingest.readers import event_stream
from ingest.readers.fields import Fields

_TRANSPORT: Final = ("extra_headers", "extra_query", "extra_body", "timeout")
"""Arguments that are no part of the request's body."""
_ABSENT: Final = ("NotGiven", "Omit")
"""Types of the arguments that stand for none."""
_RAW: Final = "x-stainless-raw-response"
"""Header by which `with_raw_response` asks for the response instead of what it says."""
_REFUSED: Final = (400, 422)
_LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")


@dataclass
class Shared:
    """What the calls of a client and of its copies share."""

    log: DeploymentLog
    logprobs: bool
    """Whether log-probabilities are asked for."""
    refusing: set[tuple[str, object]] = field(default_factory=set)
    """(server, model) that refuses them."""

    def not_logged(self) -> None:
        """Count a call that is not in the log; a log too broken to count is no reason to fail the call."""
        with suppress(Exception):
            self.log.not_logged()


@dataclass
class Call:
    """One call, from its arguments to its line in the log, which is written once."""

    shared: Shared
    server: str
    """Where the client sends it."""
    is_chat: bool
    kwargs: Mapping[str, Any]
    chunks: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    """Whether a stream came to its end by itself."""
    error: str | None = None
    asked: bool = False
    """Whether the log-probabilities in the answer are ours alone."""
    logged: bool = False

    def __post_init__(self) -> None:
        body = {**self.kwargs, **(self.kwargs.get("extra_body") or {})}
        kept = {
            name: {"type": "json_schema", "name": value.__name__} if isinstance(value, type) else value
            for name, value in body.items()
            if name not in _TRANSPORT and type(value).__name__ not in _ABSENT
        }
        self.request = self.shared.log.snapshot(kept)
        self.started = time.perf_counter()
        headers = self.kwargs.get("extra_headers")
        self.raw = {str(name).lower(): value for name, value in (headers or {}).items()}.get(_RAW)
        self.source_id = new_id("int")
        # A stream may be read where no turn, or another one, is; its line belongs to the turn that it was begun in.
        self.context = contextvars.copy_context()
        if self.is_chat and (turn := current_turn()) is not None:
            turn.note(self.source_id, answered=True)
        self.sent = self._arguments()
        """What the client is given."""

    def _arguments(self) -> Mapping[str, Any]:
        """Return the arguments, with log-probabilities asked for where nobody said whether they are wanted."""
        unsaid = type(self.kwargs.get("logprobs")).__name__ in (*_ABSENT, "NoneType")
        wanted = self.shared.logprobs and self.is_chat and self.raw is None
        self.asked = wanted and unsaid and self._model() not in self.shared.refusing
        return {**self.kwargs, "logprobs": True} if self.asked else self.kwargs

    def _model(self) -> tuple[str, object]:
        return self.server, self.kwargs.get("model")

    def may_ask_again(self, error: Exception) -> bool:
        """Return whether the server may have refused nothing but our log-probabilities."""
        ours = self.asked and getattr(error, "status_code", None) in _REFUSED
        self.asked = False
        return ours

    def refused(self) -> None:
        """Remember that the request was taken without log-probabilities only."""
        self.shared.refusing.add(self._model())

    def returned(self, result: Any) -> Any:
        """Log what the client returned, or have its stream logged, and return it."""
        with self._counted():
            if self.raw is not None:
                self._returned_raw(result)
            elif hasattr(result, "_iterator"):
                self._watch(result)
            elif hasattr(result, "model_dump"):
                try:
                    self._put(_dumped(result))
                finally:
                    self._hide(result)
            else:
                self._not_logged()
        return result

    def failed(self, error: BaseException) -> None:
        """Log that there was no answer."""
        status = getattr(error, "status_code", None)
        with self._counted():
            self._put(None, status=status if isinstance(status, int) else None, error=type(error).__name__)

    def _returned_raw(self, result: Any) -> None:
        """Log a raw response that is read already; one that is not is the caller's to read."""
        said = result.parse() if self.raw == "true" and not self.kwargs.get("stream") else None
        if hasattr(said, "model_dump"):
            self._put(_dumped(said))
        else:
            self._not_logged()

    def _not_logged(self) -> None:
        if not self.logged:
            self.logged = True
            self.shared.not_logged()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Keep an error of ours from the caller: the call counts as not logged, and no half of it is."""
        try:
            yield
        except Exception:
            self._not_logged()

    def _watch(self, stream: Any) -> None:
        """Note what a stream yields as it passes."""
        weakref.finalize(stream, self.finish)  # of a stream that nobody reads
        inner, close = stream._iterator, stream.close

        def closing() -> None:
            close()
            self.finish()

        async def closing_async() -> None:
            await close()
            self.finish()

        if hasattr(inner, "__anext__"):
            stream._iterator, stream.close = self._passing_async(inner), closing_async
        else:
            stream._iterator, stream.close = self._passing(inner), closing

    def _passing(self, inner: Any) -> Iterator[Any]:
        try:
            for chunk in inner:
                self._saw(chunk)
                yield chunk
            self.ended = True
        except Exception as error:
            self.error = type(error).__name__
            raise
        finally:
            self.finish()
            inner.close()

    async def _passing_async(self, inner: Any) -> AsyncIterator[Any]:
        try:
            async for chunk in inner:
                self._saw(chunk)
                yield chunk
            self.ended = True
        except Exception as error:
            self.error = type(error).__name__
            raise
        finally:
            self.finish()
            await inner.aclose()

    def _saw(self, chunk: Any) -> None:
        with self._counted():
            if self.is_chat:
                try:
                    self.chunks.append(_dumped(chunk))
                finally:
                    self._hide(chunk)
            elif getattr(chunk, "response", None) is not None:
                self.chunks.append({"type": chunk.type, "response": _dumped(chunk.response)})
                if chunk.type in _LAST_EVENTS:
                    self.finish()

    def finish(self) -> None:
        """Log the stream as far as it came."""
        if self.logged:
            return
        with self._counted():
            if self.is_chat:
                joined = {"object": "chat.completion", **event_stream.join_chunks(map(Fields, self.chunks), "").values}
                choices: Any = joined.get("choices") or []
                whole = self.ended or (bool(choices) and all(choice["finish_reason"] for choice in choices))
                self._put(joined, cut_off=not whole)
            else:
                last = self.chunks[-1] if self.chunks else {"type": "", "response": None}
                self._put(last["response"], cut_off=last["type"] not in _LAST_EVENTS)

    def _hide(self, answer: Any) -> None:
        """Take out the log-probabilities that the caller did not ask for."""
        for choice in answer.choices if self.asked else ():
            choice.logprobs = None

    def _put(self, response: Any, *, status: int | None = 200, error: str | None = None, cut_off: bool = False) -> None:
        """Write the one line of this call."""
        if self.logged:
            return
        if self.request is None:
            self._not_logged()
            return
        self.logged = True
        turn = self.context.run(current_turn)
        stated: Stated = {"latency_ms": (time.perf_counter() - self.started) * 1000}
        known = turn is not None and turn.stated.get("logprob_model")
        if not known and any(choice.get("logprobs") for choice in (response or {}).get("choices") or ()):
            stated["logprob_model"] = response.get("model")
        if not self.is_chat:
            self.source_id = (response or {}).get("id") or self.source_id  # what a later request goes on from
        try:
            self.context.run(
                functools.partial(
                    self.shared.log.interaction,
                    self.request,
                    response,
                    id=self.source_id,
                    status=status,
                    error=error or self.error,
                    cut_off=cut_off,
                    **stated,
                )
            )
        except Exception:
            self.logged = False  # and so counted as not logged
            raise


def _dumped(value: Any) -> dict[str, Any]:
    """Return a model of the client as plain values; a server's own fields are kept, and are no reason to warn."""
    plain: dict[str, Any] = value.model_dump(mode="json", warnings=False, exclude_none=True, exclude={"parsed"})
    return plain
