"""Messages of APIs that send them in parts (text, media, tool calls, tool results) -> messages in the order they came.

Calls belong to the assistant's message before them; what is said after a call is a message of its own. Adjacent texts
of an assistant are one text, cut by the API; of anybody else they are parts, and joined by newlines as in chat.
"""

from ingest.readers.fields import json_text
from ingest.schema import Message


def function_call(name: str, arguments: object, call_id: str | None) -> dict[str, object]:
    """Return a call in OpenAI's form; arguments that are not text become their JSON text."""
    stated: dict[str, object] = {} if call_id is None else {"id": call_id}
    text = arguments if isinstance(arguments, str) else json_text({} if arguments is None else arguments)
    return stated | {"type": "function", "function": {"name": name, "arguments": text}}


def function_tool(name: str, description: str | None, parameters: object, **more: object) -> dict[str, object]:
    """Return an offered function in OpenAI's form; what is None is left out."""
    stated = {"name": name, "description": description, "parameters": parameters, **more}
    return {"type": "function", "function": {key: value for key, value in stated.items() if value is not None}}


class Turns:
    """The messages of one role's turn, while its parts are read."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._done: list[Message] = []
        self._texts: list[str] = []
        self._parts: list[object] = []
        self._media = False
        self._calls: list[object] = []

    def say(self, text: str, part: object) -> None:
        """Add a text; `part` is how the source states it, kept where media stand beside it."""
        if self._calls:
            self._finish()
        self._texts.append(text)
        self._parts.append(part)

    def show(self, part: object) -> None:
        """Add a part that is no text: the content becomes the JSON text of all its parts."""
        if self._calls:
            self._finish()
        self._media = True
        self._parts.append(part)

    def call(self, call: object) -> None:
        """Add a tool call."""
        self._calls.append(call)

    def result(self, content: str, *, call_id: str | None = None, name: str | None = None) -> None:
        """Add what a tool gave back: a message of the role "tool"."""
        self._finish()
        self._done.append(Message(role="tool", content=content, tool_calls=None, tool_call_id=call_id, name=name))

    def messages(self, *, reply: bool = False) -> list[Message]:
        """Return the messages; a reply that has no part is one message that says nothing."""
        self._finish()
        if reply and not self._done:
            self._done.append(self._message(None))
        return self._done

    def _finish(self) -> None:
        """Close the message that is being collected, if it has a part."""
        if not self._parts and not self._calls:
            return
        content: str | None = None
        if self._media:
            content = json_text(self._parts)
        elif self._texts:
            content = ("" if self.role == "assistant" else "\n").join(self._texts)
        self._done.append(self._message(content))
        self._texts, self._parts, self._calls, self._media = [], [], [], False

    def _message(self, content: str | None) -> Message:
        calls = json_text(self._calls) if self._calls else None
        return Message(role=self.role, content=content, tool_calls=calls, tool_call_id=None, name=None)
