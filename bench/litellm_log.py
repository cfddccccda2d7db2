"""Writes a log as LiteLLM's proxy would: one StandardLoggingPayload a line, about 3.3 KB each, always the same ones.

The envelope has the fields of a real one: costs, model map, key metadata, hidden parameters. The texts are a realistic
mix: 4,000 made-up words by Zipf's law, in sentences with numbers, dates, times and prices; every 20th answer has a
block of code, every 12th exchange is in Chinese, every 6th has earlier turns. Every 50th record holds personal data:
an e-mail address, a phone or card number, an IPv4 address or a URL with a password.

    python -m bench.litellm_log log.jsonl --megabytes 600
"""

import argparse
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_SYLLABLES: Final = (
    *("ka", "lo", "mi", "ter", "den", "ver", "ra", "so", "ti", "on", "al", "es"),
    *("ing", "re", "st", "pro", "con", "de", "ment", "er", "le", "ci", "an", "tra"),
)
_HAN: Final = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
)
_CODE: Final = """```python
def {0}(values: list[int]) -> int:
    total = 0
    for i, value in enumerate(values):
        total += value * (i + {1})
    return total % {2}
```
"""
_PERSONAL: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda rng: f"Write to anna.{rng.randrange(900)}@mail{rng.randrange(90)}.example.org, please.",
    lambda rng: f"Call me at +49 151 {rng.randrange(1000, 9999)} {rng.randrange(1000, 9999)} today.",
    lambda rng: "My card is 4111 1111 1111 1111, it was charged twice.",
    lambda rng: f"The host {rng.randrange(11, 99)}.{rng.randrange(200)}.{rng.randrange(200)}.7 does not answer.",
    lambda rng: f"I used https://user:pw{rng.randrange(9999)}@build.example.org/job for it.",
)


class Writer:
    """Draws texts and records from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        words = {"".join(self.rng.choices(_SYLLABLES, k=self.rng.choice((1, 1, 2, 2, 3)))) for _ in range(9000)}
        self.words = sorted(words)[:4000]
        self.rng.shuffle(self.words)
        self.weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def sentence(self, length: int) -> str:
        """Return a sentence of so many words, and now and then a number, a date or a price."""
        words = self.rng.choices(self.words, cum_weights=self.weights, k=length)
        kind = self.rng.random()
        if kind < 0.06:
            words.insert(length // 2, f"{self.rng.randrange(2, 4000)}")
        elif kind < 0.09:
            words.append(f"on 2026-{self.rng.randrange(1, 13):02}-{self.rng.randrange(1, 29):02}")
        elif kind < 0.11:
            words.append(f"at {self.rng.randrange(24)}:{self.rng.randrange(60):02} for ${self.rng.randrange(900)}.50")
        return " ".join(words).capitalize() + "."

    def text(self, words: int, *, chinese: bool) -> str:
        """Return paragraphs of so many words, or as long a text of Chinese."""
        rng = self.rng
        if chinese:
            return "。".join("".join(rng.choices(_HAN, k=rng.randrange(8, 24))) for _ in range(words // 12)) + "。"
        sentences, left = [], words
        while left > 0:
            length = min(left, rng.randrange(6, 20))
            sentences.append(self.sentence(max(1, length)))
            left -= length
        paragraphs = [" ".join(sentences[i : i + 6]) for i in range(0, len(sentences), 6)]
        return "\n\n".join(paragraphs)

    def exchange(self) -> tuple[list[dict[str, str]], str]:
        """Return the messages of a request, and the answer."""
        rng = self.rng
        chinese = rng.random() < 1 / 12
        turns = [{"role": "system", "content": f"You are the assistant of team {rng.randrange(9)}. Answer briefly."}]
        for _ in range(rng.randrange(1, 3) if rng.random() < 1 / 6 else 0):
            turns.append({"role": "user", "content": self.text(rng.randrange(8, 40), chinese=chinese)})
            turns.append({"role": "assistant", "content": self.text(rng.randrange(20, 90), chinese=chinese)})
        question = self.text(rng.randrange(15, 120), chinese=chinese)
        if rng.random() < 1 / 50:
            question += " " + rng.choice(_PERSONAL)(rng)
        turns.append({"role": "user", "content": question})
        answer = self.text(rng.randrange(40, 280), chinese=chinese)
        if rng.random() < 1 / 20:
            answer += "\n\n" + _CODE.format(rng.choice(self.words), rng.randrange(9), rng.randrange(99, 9999))
        return turns, answer

    def record(self, number: int) -> dict[str, Any]:
        """Return one payload."""
        rng = self.rng
        turns, answer = self.exchange()
        prompt_tokens, completion_tokens = sum(len(t["content"]) for t in turns) // 4, len(answer) // 4
        began = 1_790_000_000 + number * 0.37
        seconds = rng.randrange(300, 9000) / 1000
        model = f"support-{number % 3}"
        cost = completion_tokens * 6e-7
        return {
            "id": f"chatcmpl-{rng.getrandbits(96):024x}",
            "trace_id": f"{rng.getrandbits(128):032x}",
            "call_type": "acompletion",
            "stream": False,
            "response_cost": cost,
            "status": "success",
            "custom_llm_provider": "openai",
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "startTime": began,
            "endTime": began + seconds,
            "completionStartTime": began + seconds / 3,
            "response_time": seconds,
            "model_map_information": {"model_map_key": model, "model_map_value": None},
            "model": model,
            "model_id": f"{number % 3:064x}",
            "model_group": "support",
            "api_base": "https://models.internal/v1/",
            "metadata": {
                "user_api_key_hash": f"{number % 50:064x}",
                "user_api_key_alias": None,
                "user_api_key_team_id": f"team-{number % 9}",
                "user_api_key_user_id": f"service-{number % 50}",
                "requester_metadata": {"release": "2026.10.3", "locale": "en"},
                "requester_ip_address": "",
                "spend_logs_metadata": None,
                "usage_object": None,
            },
            "cache_hit": None,
            "cache_key": None,
            "saved_cache_cost": 0.0,
            "request_tags": ["web"],
            "end_user": f"user-{rng.randrange(20_000)}",
            "requester_ip_address": None,
            "messages": turns,
            "response": {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": int(began + seconds),
                "model": model,
                "system_fingerprint": "fp_44709d6fcb",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": answer, "tool_calls": None, "function_call": None},
                    }
                ],
                "usage": {
                    "prompt_tokens": prompt_tokens,
                    "completion_tokens": completion_tokens,
                    "total_tokens": prompt_tokens + completion_tokens,
                    "completion_tokens_details": None,
                },
            },
            "error_str": None,
            "error_information": None,
            "model_parameters": {"temperature": 0.7, "max_tokens": 1024, "user": f"user-{number % 977}"},
            "hidden_params": {
                "model_id": f"{number % 3:064x}",
                "cache_key": None,
                "api_base": "https://models.internal/v1/",
                "response_cost": cost,
                "additional_headers": {"x-ratelimit-remaining-requests": rng.randrange(9999)},
            },
        }


def write(path: Path, size: int, *, seed: int = 0) -> None:
    """Write records until `path` has at least `size` bytes."""
    writer, written = Writer(seed), 0
    with path.open("w", encoding="utf-8") as file:
        for number in itertools.count():
            if written >= size:
                return
            line = json.dumps(writer.record(number), ensure_ascii=False) + "\n"
            file.write(line)
            written += len(line.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    arguments = parser.parse_args()
    write(arguments.path, arguments.megabytes * 1_000_000)
