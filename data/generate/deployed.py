"""The tiny model that stands for support-3: trains it on the sample's conversations, and scores responses with it.

Writes a Hugging Face model directory (safetensors, bfloat16). It is trained as a language model on good and bad answers
alike: a mediocre model is what a deployment has before it learns from its logs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from rich.progress import track
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data.generate.tokens import CHAT_TEMPLATE, END, PAD, POSITIONS, Codec

SEED: Final = 3
EPOCHS: Final = 7
LEARNING_RATE: Final = 4e-3
BATCH_TOKENS: Final = 2048


def save_tokenizer(codec: Codec, folder: Path) -> None:
    """Write the tokenizer files of the model directory."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=codec.tokenizer,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=POSITIONS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)


def train(codec: Codec, conversations: Sequence[Sequence[int]], folder: Path) -> None:
    """Train on token ids of whole conversations, and write the model directory."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=codec.tokenizer.get_vocab_size(),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=codec.id(END),
            pad_token_id=codec.id(PAD),
        )
    )
    batches = [batch for epoch in range(EPOCHS) for batch in _batches(conversations, epoch)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=len(batches), pct_start=0.1)
    model.train()
    for batch in track(batches, description="training the deployed model"):
        ids, mask = _padded(batch, codec.id(PAD))
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval().to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    save_tokenizer(codec, folder)


def _batches(conversations: Sequence[Sequence[int]], epoch: int) -> Iterator[list[Sequence[int]]]:
    """Yield batches of about BATCH_TOKENS of similar lengths, in an order that depends on the epoch."""
    generator = torch.Generator().manual_seed(SEED + epoch)
    noise = torch.rand(len(conversations), generator=generator).tolist()
    order = sorted(range(len(conversations)), key=lambda i: len(conversations[i]) + 8 * noise[i])
    batches: list[list[Sequence[int]]] = [[]]
    for i in order:
        if (len(batches[-1]) + 1) * len(conversations[i]) > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(conversations[i])
    for i in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[i]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both (rows, longest), padded on the right."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def token_logprobs(folder: Path, pairs: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
    """Return log p of every response token of each (prompt ids, response ids), by the saved weights in float32.

    One row at a time: padding would change the order of additions, and with it the last digits.
    """
    torch.set_num_threads(1)  # rows this small only wait for each other
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    scored = []
    with torch.inference_mode():
        for prompt, response in track(pairs, description="scoring responses", disable=len(pairs) < 100):
            logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
            logprobs = logits.double().log_softmax(-1)
            rows = torch.arange(len(response))
            scored.append([round(value, 5) for value in logprobs[rows, torch.tensor(response)].tolist()])
    return scored
