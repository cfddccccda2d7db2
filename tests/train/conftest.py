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
    PrinterCallback,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainingArguments,
)

from ingest.schema import CURATED, messages_hash, triple_id
from train.collate import Collator
from train.config import Order
from train.dataset import PairDataset, PairReader, split_by_column
from train.losses import Constants
from train.model import Policy, fingerprint, load
from train.objective import Objective
from train.preflight import Preflight
from train.reference import ReferenceCache
from train.trainer import DPOTrainer

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
    """A byte-level BPE of 400 tokens with a chat template; it has an end and a padding token, no begin token."""
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
        tied: dict[str, Any] = {"num_key_value_heads": 2, "tie_word_embeddings": True}
        return Qwen2ForCausalLM(Qwen2Config(**SIZE, vocab_size=vocabulary, **tied))
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SIZE, vocab_size=vocabulary))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small are computed faster by one thread than by several that wait for each other."""
    torch.set_num_threads(1)


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
        x, w, r = (messages_hash(side) for side in sides)
        values["triple_id"][i] = triple_id(x, w, r, "choice")
        values["prompt_hash"][i], values["chosen_hash"][i], values["rejected_hash"][i] = x, w, r
        values["prompt"][i], values["chosen"][i], values["rejected"][i] = sides
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


@pytest.fixture(scope="session")
def policy(model_folder: Path) -> Policy:
    """The Llama as a run loads it; tests that train load their own."""
    return load(model_folder, torch.device("cpu"), None)


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    """curated.parquet with 24 training, 7 validation and 5 test pairs, as `curate` publishes it."""
    path = tmp_path / "curated.parquet"
    pq.write_table(curated_table(learnable_pairs(24, 7, 5)), path)
    return path


def read_all(policy: Policy, path: Path) -> PairDataset:
    """The pairs of a file with a split column, reference not filled in."""
    reader = PairReader(policy.tokenizer, Preflight(max_length=None))
    reader.read(path, split_by_column, lambda _: None)
    return reader.dataset()


def read_with_reference(policy: Policy, path: Path, ld_alpha: float = 1.0) -> PairDataset:
    """The pairs of a file with a split column and their reference log-probabilities; the cache is beside the file."""
    pairs = read_all(policy, path)
    folder, collate = path.parent / "reference", Collator(policy.padding_id)
    cache = ReferenceCache(folder, policy, fingerprint(policy), collate, 8, ld_alpha)
    cache.fill(pairs, lambda _: None)
    return pairs


SIGMOID = Objective({"sigmoid": 1.0}, Constants(beta=0.1))


def make_trainer(
    policy: Policy,
    pairs: PairDataset,
    output: Path,
    *,
    order: Order,
    objective: Objective = SIGMOID,
    token_metrics: bool = False,
    **arguments: Any,
) -> DPOTrainer:
    """A trainer as `train.run` makes it, quiet, with `arguments` of TrainingArguments."""
    quiet: dict[str, Any] = {
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    made = TrainingArguments(output_dir=str(output), remove_unused_columns=False, use_cpu=True, **quiet, **arguments)
    trainer = DPOTrainer(policy, pairs, made, objective=objective, order=order, token_metrics=token_metrics)
    trainer.remove_callback(PrinterCallback)
    return trainer


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
