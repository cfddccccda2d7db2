"""The readers, in the order in which `detect` asks them: the most particular form first."""

from collections.abc import Mapping
from typing import Final

from ingest.errors import SettingsError
from ingest.readers.anthropic_messages import AnthropicMessages
from ingest.readers.arena_log import ArenaLog
from ingest.readers.battles import Battles
from ingest.readers.chatbotui_export import ChatbotUIExport
from ingest.readers.chatgpt_export import ChatGPTExport
from ingest.readers.gemini import Gemini
from ingest.readers.helicone import Helicone
from ingest.readers.hh_rlhf import HHRLHF
from ingest.readers.kto import KTO
from ingest.readers.langfuse import Langfuse
from ingest.readers.langsmith import LangSmith
from ingest.readers.librechat import LibreChat
from ingest.readers.litellm import LiteLLM
from ingest.readers.llmbar import LLMBar
from ingest.readers.mlflow_traces import MLflowTraces
from ingest.readers.oasst_tree import OASSTTree
from ingest.readers.ollama import Ollama
from ingest.readers.open_webui import OpenWebUI
from ingest.readers.openai_chat import OpenAIChat
from ingest.readers.openai_completions import OpenAICompletions
from ingest.readers.openai_preference import OpenAIPreference
from ingest.readers.openai_responses import OpenAIResponses
from ingest.readers.openinference import OpenInference
from ingest.readers.otel_genai import OTelGenAI
from ingest.readers.reading import Reader
from ingest.readers.sharegpt_preference import ShareGPTPreference
from ingest.readers.trl_preference import TRLPreference
from ingest.readers.ultrafeedback import UltraFeedback
from ingest.readers.weave import Weave
from ingest.readers.winnow import Winnow

READERS: Final[tuple[Reader, ...]] = (
    Winnow(),
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    OpenAICompletions(),
    Gemini(),
    Ollama(),
    LiteLLM(),
    Helicone(),
    HHRLHF(),
    TRLPreference(),
    ShareGPTPreference(),
    OpenAIPreference(),
    LLMBar(),
    KTO(),
    UltraFeedback(),
    OASSTTree(),
    Battles(),
    Langfuse(),
    LangSmith(),
    LibreChat(),
    ChatGPTExport(),
    ChatbotUIExport(),
    OpenWebUI(),
    ArenaLog(),
    OpenInference(),
    OTelGenAI(),
    MLflowTraces(),
    Weave(),
)
"""Every reader; no record is known to two of them (a test proves it on each format's example)."""


def get(name: str) -> Reader:
    """Return the reader that `format` in winnow.toml names. Raises SettingsError, naming the known ones."""
    for reader in READERS:
        if reader.name == name:
            return reader
    known = ", ".join(reader.name for reader in READERS)
    raise SettingsError(f'No reader is named "{name}". Known formats: auto, {known}.')


def detect(record: Mapping[str, object]) -> Reader | None:
    """Return the first reader that knows the form of `record`, or None: the record is of an unknown format."""
    return next((reader for reader in READERS if reader.sniff(record)), None)
