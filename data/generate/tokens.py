"""The deployed model's own byte-level BPE, trained on the sample's text, and what its tokens look like in a log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from data.generate.rows import Messages

VOCABULARY: Final = 2048
POSITIONS: Final = 512
"""Tokens of a conversation, at most."""
PAD: Final = "<|pad|>"
END: Final = "<|end|>"
SPECIAL: Final = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>")
"""Never in a text. Padding is a token of its own, so that a mask by pad id could not hide the end."""
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass
class Codec:
    """Text to token ids and back."""

    tokenizer: Tokenizer

    @classmethod
    def trained(cls, texts: Iterable[str]) -> "Codec":
        """Train on `texts`; the same texts give the same tokenizer."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(set(texts)), trainer)
        return cls(tokenizer)

    @classmethod
    def loaded(cls, folder: Path) -> "Codec":
        """Read the tokenizer of a model directory."""
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def id(self, token: str) -> int:
        """Return the id of a special token."""
        found = self.tokenizer.token_to_id(token)
        assert found is not None
        return int(found)

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def prompt_ids(self, messages: Messages) -> list[int]:
        """Return the ids of a prompt as CHAT_TEMPLATE renders it, up to and including <|assistant|>."""
        ids: list[int] = []
        for role, content in messages:
            ids += [self.id(f"<|{role}|>"), *self.ids(content), self.id(END)]
        return [*ids, self.id("<|assistant|>")]

    def response_ids(self, text: str, finish_reason: str) -> list[int]:
        """Return the ids of a response as sampled: the end token only where the model stopped by itself."""
        return [*self.ids(text), *([self.id(END)] if finish_reason == "stop" else [])]

    @cached_property
    def _bytes(self) -> dict[str, int]:
        """Character of the byte-level alphabet -> the byte it stands for."""
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printable]
        return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """Return the bytes of each token; a character may be spread over several."""
        tokens = [str(self.tokenizer.id_to_token(i)) for i in ids]
        return [
            token.encode() if token in SPECIAL else bytes(self._bytes[character] for character in token)
            for token in tokens
        ]
