"""A chat service that logs what it serves and what its users say of it.

    uvicorn serve:app

Needs fastapi and openai; OPENAI_BASE_URL names the server of the model. The middleware states, once a request, whose
turn it is; the id under which the answer was logged goes to the browser, and comes back with the user's verdict.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import openai
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders

from ingest.logged_openai import logged
from ingest.logger import DeploymentLog

log = DeploymentLog(os.environ.get("WINNOW_RAW", "data/raw"))
client = logged(openai.AsyncOpenAI(), log)
app = FastAPI()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class TurnMiddleware:
    """States whose turn a request is, and names the logged answer in the header x-interaction-id."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request. A product takes the user from its session: what a browser states can be forged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stated = {"conversation_id": headers.get("x-conversation"), "user_id": headers.get("x-user")}
        with log.turn(**stated, consent=headers.get("x-consent"), shown=True) as turn:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start" and turn.id is not None:
                    MutableHeaders(scope=message)["x-interaction-id"] = turn.id
                await send(message)

            await self.app(scope, receive, sending)


app.add_middleware(TurnMiddleware)


class Question(BaseModel):
    """What a user asks."""

    text: str


class Verdict(BaseModel):
    """What a user says of an answer."""

    interaction_id: str
    up: bool
    event_id: str | None = None
    """Of the verdict that this one replaces."""


@app.post("/chat")
async def chat(question: Question) -> StreamingResponse:
    """Answer, word by word."""
    messages = [{"role": "user", "content": question.text}]
    stream = await client.chat.completions.create(model="support", messages=messages, stream=True)

    async def words() -> Any:
        async with stream:
            async for chunk in stream:
                yield chunk.choices[0].delta.content or ""

    return StreamingResponse(words(), media_type="text/plain")


@app.post("/feedback")
async def feedback(verdict: Verdict) -> dict[str, str]:
    """Log a thumb; the id that comes back lets the user change it."""
    return {"event_id": log.thumb(verdict.interaction_id, up=verdict.up, id=verdict.event_id)}
