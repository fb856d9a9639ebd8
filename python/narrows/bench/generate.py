"""Text from a checkpoint directory, as it is generated: `narrows.bench llm --prompt`."""

import importlib.util
import sys
import time
from pathlib import Path

from .workloads.base import Library, Options
from .workloads.llm import LanguageModel


class TokenNumbers:
    """Stands in for a tokenizer where a checkpoint has none: a text is a list of numbers."""

    def encode(self, text: str) -> list[int]:
        try:
            return [int(word) for word in text.replace(",", " ").split()]
        except ValueError:
            raise ValueError(
                f"[llm] prompt {text!r}, expected numbers of tokens, as there is no tokenizer"
            ) from None

    def decode(self, tokens: list[int]) -> str:
        return "".join(f" {token}" for token in tokens)


class FileTokenizer:
    """That of a file tokenizer.json, read by the package `tokenizers`."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens)


def find_tokenizer(directory: str) -> FileTokenizer | TokenNumbers:
    path = Path(directory) / "tokenizer.json"
    if path.is_file() and importlib.util.find_spec("tokenizers"):
        return FileTokenizer(path)
    return TokenNumbers()


def stream(
    model: str, prompt: str, *, device: str, count: int, temperature: float, out=sys.stdout
) -> None:
    """Writes the text that a checkpoint's model puts after a prompt, piece by piece."""
    tokenizer = find_tokenizer(model)
    workload = LanguageModel(Library("narrows", device), Options(model=model))
    tokens = tokenizer.encode(prompt)
    vocabulary = workload.config.vocab_size
    if not tokens or not all(0 <= token < vocabulary for token in tokens):
        raise ValueError(f"[llm] prompt of tokens {tokens}, expected some of 0 to {vocabulary - 1}")
    workload.mx.reset_peak_memory()
    start = first = time.perf_counter()
    generated, written = [], ""
    for token in workload.generate(tokens, count, temperature):
        if not generated:
            first = time.perf_counter()
        generated.append(token)
        text = tokenizer.decode(generated)
        # A character may take several tokens; until it is whole, its last one stands for it.
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            print(text[len(written) :], end="", file=out, flush=True)
            written = text
    end = time.perf_counter()
    later = len(generated) - 1
    speed = f"{later / (end - first):.1f} tokens/s" if later > 0 else "-"
    peak = workload.mx.get_peak_memory() / 1e6
    print(f"\n\nread {len(tokens)} tokens in {first - start:.2f} s", file=out)
    print(f"wrote {len(generated)} tokens: {speed}, peak {peak:.1f} MB", file=out)
