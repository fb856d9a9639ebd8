"""Learns the letters of a text and writes more of it, with a cache of keys and values.

python examples/generate_text.py
python examples/generate_text.py --text book.txt --prompt "It was" --temperature 0.7
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
from tqdm import tqdm


class Attention(nn.Module):
    """Attention of several heads to what came before, with rotated positions."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(dims, 3 * dims, bias=False)
        self.output = nn.Linear(dims, dims, bias=False)
        self.rope = nn.RoPE(dims // heads)

    def __call__(self, x: mx.array, cache: list | None) -> mx.array:
        batch, length, dims = x.shape

        def split(y: mx.array) -> mx.array:
            return y.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)

        queries, keys, values = (split(y) for y in mx.split(self.project(x), 3, axis=-1))
        offset = cache[0].shape[2] if cache else 0
        queries, keys = self.rope(queries, offset=offset), self.rope(keys, offset=offset)
        if cache is not None:
            if cache:
                keys = mx.concatenate([cache[0], keys], axis=2)
                values = mx.concatenate([cache[1], values], axis=2)
            cache[:] = [keys, values]
        y = mx.fast.scaled_dot_product_attention(
            queries,
            keys,
            values,
            scale=(dims // self.heads) ** -0.5,
            mask="causal" if length > 1 else None,
        )
        return self.output(y.transpose(0, 2, 1, 3).reshape(batch, length, dims))


class Block(nn.Module):
    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dims, heads)
        self.norm1, self.norm2 = nn.RMSNorm(dims), nn.RMSNorm(dims)
        self.feed_forward = nn.Sequential(
            nn.Linear(dims, 4 * dims), nn.GELU(), nn.Linear(4 * dims, dims)
        )

    def __call__(self, x: mx.array, cache: list | None) -> mx.array:
        x = x + self.attention(self.norm1(x), cache)
        return x + self.feed_forward(self.norm2(x))


class Model(nn.Module):
    def __init__(self, letters: int, dims: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, dims)
        self.blocks = [Block(dims, 4) for _ in range(layers)]
        self.norm = nn.RMSNorm(dims)
        self.output = nn.Linear(dims, letters)

    def __call__(self, tokens: mx.array, caches: list | None = None) -> mx.array:
        x = self.embedding(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None)
        return self.output(self.norm(x))


def train(model: Model, tokens: mx.array, steps: int, batch: int, length: int) -> float:
    optimizer = optim.AdamW(learning_rate=optim.cosine_decay(3e-3, steps))

    def loss(texts: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(texts[:, :-1]), texts[:, 1:], reduction="mean")

    loss_and_gradients = nn.value_and_grad(model, loss)
    value = mx.array(0.0)
    with tqdm(range(steps), unit="step", file=sys.stderr) as bar:
        for step in bar:
            starts = mx.random.randint(0, tokens.size - length, (batch, 1))
            value, gradients = loss_and_gradients(tokens[starts + mx.arange(length + 1)])
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state, value)
            if step % 20 == 19:
                bar.set_postfix(loss=f"{value.item():.3f}")
    return value.item()


def generate(model: Model, prompt: list[int], count: int, temperature: float) -> Iterator[int]:
    """Tokens after a prompt. The next one is recorded while this one is computed."""
    caches = [[] for _ in model.blocks]

    def following(tokens: mx.array) -> mx.array:
        logits = model(tokens, caches)[:, -1]
        if temperature == 0:
            return mx.argmax(logits, axis=-1, keepdims=True)
        return mx.random.categorical(logits / temperature)[:, None]

    token = following(mx.array([prompt]))
    for i in range(count):
        mx.async_eval(token)
        after = following(token) if i + 1 < count else None
        yield token.item()
        token = after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, default=Path(__file__), help="default: this program")
    parser.add_argument("--prompt", default="def ")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()

    text = options.text.read_text(encoding="utf-8")
    letters = sorted(set(text))
    numbers = {letter: i for i, letter in enumerate(letters)}
    unknown = sorted(set(options.prompt) - set(letters))
    if unknown or not options.prompt:
        parser.error(f"--prompt: expected letters of the text, without {unknown}")
    if len(text) <= options.length + 1:
        parser.error(f"--text: {len(text)} letters, expected more than {options.length + 1}")

    mx.random.seed(0)
    model = Model(len(letters), options.dims, options.layers)
    tokens = mx.array([numbers[letter] for letter in text])
    loss = train(model, tokens, options.steps, options.batch, options.length)
    print(f"loss {loss:.3f}, peak {mx.get_peak_memory() / 1e6:.1f} MB")
    print(options.prompt, end="", flush=True)
    prompt = [numbers[letter] for letter in options.prompt]
    for token in generate(model, prompt, options.count, options.temperature):
        print(letters[token], end="", flush=True)
    print()


if __name__ == "__main__":
    main()
