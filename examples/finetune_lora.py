"""Fine-tunes a model with LoRA: the weights stay, and small matrices beside them are trained.

    python examples/finetune_lora.py

A small transformer first learns to repeat a text of digits. Then it is to answer with the digits
in reverse: all its weights are frozen, and each projection of its attention gets two matrices of
rank 4. The program says how much less there is to train, and how much less memory a step takes.
"""

import argparse
import math
from collections.abc import Callable

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
from narrows.utils import tree_flatten, tree_unflatten

VOCABULARY = 12  # ten digits, the end of the question, and the begin of the text
END = 10


class LoRALinear(nn.Module):
    """A linear layer whose weight stays: ``layer(x) + scale * x @ a @ b``."""

    def __init__(self, layer: nn.Module, rank: int, scale: float = 4.0) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape
        self.layer = layer
        self.layer.freeze()
        self.scale = scale
        self.lora_a = mx.random.normal((inputs, rank), scale=1 / math.sqrt(inputs))
        self.lora_b = mx.zeros((rank, outputs))  # at first nothing changes

    def __call__(self, x: mx.array) -> mx.array:
        return self.layer(x) + self.scale * (x @ self.lora_a) @ self.lora_b

    def merged(self) -> nn.Linear:
        """One linear layer that computes the same."""
        outputs, inputs = self.layer.weight.shape
        merged = nn.Linear(inputs, outputs, bias="bias" in self.layer)
        merged.weight = self.layer.weight + self.scale * (self.lora_a @ self.lora_b).T
        if "bias" in self.layer:
            merged.bias = self.layer.bias
        return merged


class Model(nn.Module):
    def __init__(self, dims: int, layers: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, dims)
        self.position = nn.Embedding(length, dims)
        self.encoder = nn.TransformerEncoder(layers, dims, 4, norm_first=True)
        self.output = nn.Linear(dims, VOCABULARY)

    def __call__(self, tokens: mx.array) -> mx.array:
        length = tokens.shape[1]
        mask = nn.MultiHeadAttention.create_additive_causal_mask(length)
        x = self.embedding(tokens) + self.position(mx.arange(length))
        return self.output(self.encoder(x, mask))


def make_batch(count: int, digits: int, reverse: bool) -> mx.array:
    """Texts (count, 2 * digits + 1): digits, the end, and the digits once more or in reverse."""
    question = mx.random.randint(0, 10, (count, digits))
    answer = question[:, ::-1] if reverse else question
    return mx.concatenate([question, mx.full((count, 1), END, question.dtype), answer], axis=1)


def loss(model: nn.Module, texts: mx.array, digits: int) -> mx.array:
    """Cross entropy of the answer's digits."""
    logits = model(texts[:, :-1])[:, digits:]
    return nn.losses.cross_entropy(logits, texts[:, digits + 1 :], reduction="mean")


def train(model: nn.Module, rate: float, steps: int, options, reverse: bool) -> tuple[float, int]:
    """Trains what is not frozen: the last loss, and the bytes that a step takes beside weights."""
    optimizer = optim.AdamW(learning_rate=rate)
    loss_and_gradients = nn.value_and_grad(model, loss)
    value, step_bytes = mx.array(0.0), 0
    for step in range(steps):
        texts = make_batch(options.batch, options.digits, reverse)
        value, gradients = loss_and_gradients(model, texts, options.digits)
        optimizer.update(model, gradients)
        del gradients
        if step == 1:
            weights = sum(w.nbytes for _, w in tree_flatten(model.parameters()))
            step_bytes = mx.plan(value, model, optimizer.state).predicted_peak - weights
        mx.eval(value, model.parameters(), optimizer.state)
        if step % 50 == 49:
            print(f"  step {step + 1}: loss {value.item():.3f}")
    return value.item(), step_bytes


def replace_layers(model: nn.Module, make: Callable, kind: type) -> None:
    """Puts make(layer) in the place of the attention's layers of a kind."""
    replaced = [
        (path, make(layer))
        for path, layer in model.named_modules()
        if "attention" in path and type(layer) is kind
    ]
    model.update_modules(tree_unflatten(replaced))


def count_parameters(tree) -> int:
    return sum(value.size for _, value in tree_flatten(tree))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--digits", type=int, default=8)
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rank", type=int, default=4)
    options = parser.parse_args()

    mx.random.seed(0)
    model = Model(options.dims, options.layers, 2 * options.digits)
    print("all weights learn to repeat the digits:")
    _, whole_bytes = train(model, 2e-3, options.steps, options, reverse=False)

    model.freeze()
    replace_layers(model, lambda layer: LoRALinear(layer, options.rank), nn.Linear)
    trained, total = (
        count_parameters(tree) for tree in (model.trainable_parameters(), model.parameters())
    )
    texts = make_batch(256, options.digits, reverse=True)
    before = loss(model, texts, options.digits).item()
    print(f"LoRA learns to reverse them, {trained} of {total} parameters:")
    _, lora_bytes = train(model, 5e-3, options.steps, options, reverse=True)
    after = loss(model, texts, options.digits).item()

    replace_layers(model, LoRALinear.merged, LoRALinear)
    merged = loss(model, texts, options.digits).item()
    print(f"loss {before:.3f} before, {after:.3f} after, {merged:.3f} merged into the weights")
    print(f"a step takes {whole_bytes / 1e6:.2f} MB beside the weights", end="; ")
    print(f"with LoRA {lora_bytes / 1e6:.2f}")


if __name__ == "__main__":
    main()
