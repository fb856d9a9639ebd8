"""Programs for packages that use MLX: small random models, and what they compute.

    python -m narrows.mlx tests/python/package_programs.py mlx_whisper

Under narrows.mlx they are run by test_packages.py. With MLX 0.32.4 itself they gave the values in
data/mlx_packages.json.
"""

import json
import sys

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten


def set_weights(model: nn.Module) -> None:
    """Weights that are the same wherever this runs: gains are near one, biases near zero."""
    random = np.random.default_rng(0)
    weights = []
    for name, parameter in sorted(tree_flatten(model.parameters())):
        noise = random.standard_normal(parameter.shape, dtype=np.float32)
        if parameter.ndim > 1:
            value = noise / np.sqrt(parameter.shape[-1])
        else:
            value = 0.1 * noise + name.endswith("weight")
        weights.append((name, mx.array(value)))
    model.update(tree_unflatten(weights))
    mx.eval(model.parameters())


def numbers(shape: tuple, seed: int) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def mlx_whisper() -> dict:
    """Speech to text: the features of a sound, the encoder, words by greedy and random choice."""
    from mlx_whisper import whisper
    from mlx_whisper.audio import N_SAMPLES, log_mel_spectrogram
    from mlx_whisper.decoding import DecodingOptions, decode

    model = whisper.Whisper(
        whisper.ModelDimensions(80, 1500, 32, 2, 2, 51865, 448, 32, 2, 2), mx.float32
    )
    set_weights(model)
    seconds = np.arange(N_SAMPLES) / 16000
    sound = np.sin(2 * np.pi * 440 * seconds * (1 + seconds / 30)).astype(np.float32)
    features = log_mel_spectrogram(sound)
    encoded = model.embed_audio(features[None])
    greedy, sampled = (
        decode(
            model,
            features,
            DecodingOptions(language="en", fp16=False, sample_len=8, temperature=temperature),
        )
        for temperature in (0.0, 0.7)
    )
    nn.quantize(model, group_size=32, bits=8, class_predicate=lambda _, m: type(m) is nn.Linear)
    return {
        "features": features[::500, ::20].tolist(),
        "encoded": encoded[0, ::500, :4].tolist(),
        "tokens": [int(token) for token in greedy.tokens],
        "sampled": 0 < len(sampled.tokens) <= 8,
        "quantized": model.embed_audio(features[None])[0, ::500, :4].tolist(),
    }


def mlx_embeddings() -> dict:
    """Vectors of texts: BERT and ModernBERT, with padding."""
    import importlib

    sizes = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    }
    tokens = mx.array(np.random.default_rng(1).integers(0, 100, (2, 10)))
    mask = mx.array([[1] * 10, [1] * 6 + [0] * 4])
    found = {}
    for name in ("bert", "modernbert"):
        module = importlib.import_module(f"mlx_embeddings.models.{name}")
        model = module.Model(module.ModelArgs(model_type=name, **sizes))
        model.eval()
        set_weights(model)
        found[name] = model(tokens, attention_mask=mask).text_embeds[:, :6].tolist()
    return found


def mlx_graphs() -> dict:
    """Networks over graphs: layers of several kinds, and training steps."""
    import mlx.optimizers as optim
    from mlx_graphs.nn import GATConv, GCNConv, GINConv, SAGEConv

    edges = mx.array([[0, 1, 2, 3, 4, 0, 2, 5], [1, 2, 0, 4, 5, 3, 5, 0]])
    nodes, labels = numbers((6, 8), 1), mx.array([0, 1, 0, 1, 0, 1])
    gin = GINConv(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4)))
    layers = {"gcn": GCNConv(8, 4), "gat": GATConv(8, 4, heads=2), "sage": SAGEConv(8, 4)}
    found = {}
    for name, layer in {**layers, "gin": gin}.items():
        layer.eval()
        set_weights(layer)
        found[name] = layer(edges, nodes).tolist()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = GCNConv(8, 16, add_self_loops=True), GCNConv(16, 2)

        def __call__(self, edges, nodes):
            return self.second(edges, nn.relu(self.first(edges, nodes)))

    net = Net()
    set_weights(net)
    found["losses"] = train(
        net, optim.Adam(1e-2), lambda m: nn.losses.cross_entropy(m(edges, nodes), labels).mean()
    )
    return found


def train(model: nn.Module, optimizer, loss, steps: int = 5) -> list[float]:
    losses = []
    step = nn.value_and_grad(model, loss)
    for _ in range(steps):
        value, gradients = step(model)
        optimizer.update(model, gradients)
        mx.eval(value, model.parameters(), optimizer.state)
        losses.append(value.item())
    return losses


def mlx_optimizers() -> dict:
    """Optimizers: the losses of training steps, and the sum of what the weights are then."""
    import mlx_optimizers as optimizers

    x, y = numbers((16, 8), 1), numbers((16, 4), 2)
    found = {}
    for name in ("ADOPT", "DiffGrad", "Lamb", "MADGRAD", "MARS", "Muon", "QHAdam", "Shampoo"):
        model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False))
        set_weights(model)
        optimizer = getattr(optimizers, name)(learning_rate=1e-2)
        losses = train(model, optimizer, lambda m: nn.losses.mse_loss(m(x), y))
        total = sum(mx.abs(weight).sum().item() for _, weight in tree_flatten(model.parameters()))
        found[name] = [*losses, total]
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
