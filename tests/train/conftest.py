"""Tiny models of random weights and a byte-level tokenizer, made once and saved like real ones; pairs to train on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from ingest.schema import CURATED, messages_hash, triple_id

TEMPLATE = (
    "{% if tools %}<|tools|>{{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}"
    "{% if m.content %}{{ m['content'] }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tools|>"]
CORPUS = [
    "How do I reset the router? Hold the button for ten seconds, then wait until the light is green.",
    "Where is my parcel? It left the depot this morning and arrives tomorrow before noon.",
    "Can I change my plan? Yes: open Settings, choose Plan, and pick the one you like.",
    "the answer is I do not know, please ask somebody else about the colour of the sky",
]
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 words with a chat template; it has an end and a padding token and no begin token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|pad|>", chat_template=TEMPLATE
    )


def make_model(family: str, vocabulary: int) -> PreTrainedModel:
    """A causal language model of random weights of one of three architectures."""
    torch.manual_seed(7)
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZE, vocab_size=vocabulary, num_key_value_heads=2))
    if family == "qwen2":
        config = Qwen2Config(**SIZE, vocab_size=vocabulary, num_key_value_heads=2, tie_word_embeddings=True)
        return Qwen2ForCausalLM(config)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SIZE, vocab_size=vocabulary, rotary_pct=0.5))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Folder with saved models `llama`, `qwen2` and `gpt_neox`."""
    folder = tmp_path_factory.mktemp("models")
    for family in ("llama", "qwen2", "gpt_neox"):
        make_model(family, len(tokenizer)).save_pretrained(folder / family)
        tokenizer.save_pretrained(folder / family)
    return folder


@pytest.fixture(scope="session")
def model_folder(models_folder: Path) -> Path:
    """Folder of the saved Llama."""
    return models_folder / "llama"


def say(role: str, content: str) -> dict[str, str | None]:
    """One message as the lake has it, absent keys null."""
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, "name": None}


def curated_table(pairs: Sequence[tuple[str, str, str, str]], **columns: Sequence[object]) -> pa.Table:
    """Rows of `ingest.schema.CURATED` from (prompt, chosen, rejected, split); other columns null unless given."""
    values: dict[str, list[object]] = {name: [None] * len(pairs) for name in CURATED.names}
    for i, (prompt, chosen, rejected, split) in enumerate(pairs):
        sides = [[say("user", prompt)], [say("assistant", chosen)], [say("assistant", rejected)]]
        hashes = [messages_hash(side) for side in sides]
        values["triple_id"][i] = triple_id(*hashes, "choice")
        for name, side, side_hash in zip(("prompt", "chosen", "rejected"), sides, hashes, strict=True):
            values[name][i], values[f"{name}_hash"][i] = side, side_hash
        values["split"][i], values["weight"][i] = split, 1.0
    for name, given in columns.items():
        values[name] = list(given)
    return pa.table(values, schema=CURATED)


def learnable_pairs(train: int, validation: int, test: int = 0) -> list[tuple[str, str, str, str]]:
    """Pairs with a rule that generalises: the polite answer is chosen, the rude one rejected, whatever is asked."""
    things = ("router", "parcel", "plan", "bill", "phone", "order", "refund", "delivery", "password", "invoice")
    verbs = ("reset", "find", "change", "pay", "return", "cancel", "check", "open", "move", "update")
    splits = ["train"] * train + ["validation"] * validation + ["test"] * test
    pairs = []
    for i, split in enumerate(splits):
        thing, verb = things[i % 10], verbs[(i // 10) % 10]
        prompt = f"How do I {verb} the {thing} number {i}?"
        pairs.append((prompt, f"Yes: open Settings, choose the {thing}.", f"I do not know the {thing}.", split))
    return pairs


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    """curated.parquet with 24 training, 7 validation and 5 test pairs, as `curate` publishes it."""
    path = tmp_path / "curated.parquet"
    pq.write_table(curated_table(learnable_pairs(24, 7, 5)), path)
    return path


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
