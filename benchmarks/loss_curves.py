"""Losses of training in narrows and in PyTorch, from the same weights and on the same batches.

    python benchmarks/loss_curves.py --torch-python other/.venv/bin/python
    python benchmarks/loss_curves.py resnet --steps 50 --torch-python other/.venv/bin/python

Both train in float32 at the small scale of the workloads: ResNet-20 with Adam, and the language
model with AdamW. Prints how far the curves are apart. As a control, PyTorch trains once
more from weights that are one unit in the last place larger, with each batch in the opposite order:
how far its two curves are apart is what rounding alone does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

BATCHES = 8
RATE = 1e-3


def images(random: np.random.Generator) -> tuple:
    """Noise whose brightness tells the label."""
    labels = random.integers(0, 10, (BATCHES, 32))
    noise = random.normal(0, 1, (BATCHES, 32, 32, 32, 3))
    return (noise + labels[..., None, None, None] / 3).astype(np.float32), labels


def walks(random: np.random.Generator) -> tuple:
    """Tokens that mostly follow each other in a fixed order, and the next ones."""
    tokens = random.integers(0, 2000, (BATCHES, 2, 1)) + 7 * np.arange(129)
    noise = random.integers(0, 2000, tokens.shape)
    tokens = np.where(random.random(tokens.shape) < 0.1, noise, tokens % 2000)
    return tokens[..., :-1], tokens[..., 1:]


BATCHES_OF = {"resnet": images, "transformer": walks}


def train_narrows(name: str, steps: int, path: str) -> list[float]:
    """Losses of the steps; leaves weights and batches in the file first."""
    import narrows.core as mx
    from narrows import nn, optimizers, utils
    from narrows.bench.workloads import base, resnet, transformer

    mx.random.seed(0)
    library = base.Library("narrows", "cpu")
    if name == "resnet":
        model = resnet.make_model(library)
        optimizer = optimizers.Adam(RATE, bias_correction=True)
    else:
        model = transformer.make_model(library, transformer.SMALL)
        optimizer = optimizers.AdamW(RATE, bias_correction=True)
    inputs, targets = BATCHES_OF[name](np.random.default_rng(0))
    weights = dict(utils.tree_flatten(model.parameters()))
    if name == "transformer":
        weights["table"] = model.position(mx.arange(inputs.shape[-1]))
    arrays = {key: np.array(value) for key, value in weights.items()}
    np.savez(path, inputs=inputs, targets=targets, **arrays)

    def loss(inputs, targets):
        return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")

    step = nn.value_and_grad(model, loss)
    batches = [(mx.array(x), mx.array(y)) for x, y in zip(inputs, targets)]
    losses = []
    for i in range(steps):
        value, gradients = step(*batches[i % BATCHES])
        optimizer.update(model, gradients)
        mx.eval(value, model.state, optimizer.state)
        losses.append(value.item())
    return losses


def torch_resnet(torch, torch_peer, arrays: dict):
    """PyTorch's model, and its parameters by the names of narrows."""
    nn = torch.nn
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    names = {"conv": layers[0], "norm": layers[1]}
    channels = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            block = torch_peer.Block(channels, outputs, stride if i == 0 else 1)
            prefix = f"blocks.{len(layers) - 3}."
            for part in ("conv1", "norm1", "conv2", "norm2"):
                names[prefix + part] = getattr(block, part)
            if isinstance(block.shortcut, nn.Sequential):
                names[prefix + "shortcut"], names[prefix + "norm_shortcut"] = block.shortcut
            layers.append(block)
            channels = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    names["linear"] = layers[-1]
    parameters = {}
    for name, layer in names.items():
        parameters[name + ".weight"] = layer.weight
        if layer.bias is not None:
            parameters[name + ".bias"] = layer.bias
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    return model, parameters


def torch_transformer(torch, torch_peer, arrays: dict):
    from narrows.bench.workloads import transformer

    model = torch_peer.LanguageModel(transformer.SMALL)
    dims = transformer.SMALL.dims
    model.encoder.norm = torch.nn.LayerNorm(dims)
    model.position = torch.tensor(arrays["table"])
    parameters = {
        "embedding.weight": model.embedding.weight,
        "output.weight": model.output.weight,
        "output.bias": model.output.bias,
        "encoder.ln.weight": model.encoder.norm.weight,
        "encoder.ln.bias": model.encoder.norm.bias,
    }
    for i, layer in enumerate(model.encoder.layers):
        prefix = f"encoder.layers.{i}."
        attention = prefix + "attention."
        projections = [
            arrays[attention + part + "_proj.weight"] for part in ("query", "key", "value")
        ]
        arrays[attention + "in"] = np.concatenate(projections)
        parameters[attention + "in"] = layer.self_attn.in_proj_weight
        parameters[attention + "out_proj.weight"] = layer.self_attn.out_proj.weight
        for bias in (layer.self_attn.in_proj_bias, layer.self_attn.out_proj.bias):
            bias.data.zero_()
            bias.requires_grad_(False)
        pairs = [("ln1", "norm1"), ("ln2", "norm2"), ("linear1", "linear1"), ("linear2", "linear2")]
        for ours, theirs in pairs:
            for part in ("weight", "bias"):
                parameters[f"{prefix}{ours}.{part}"] = getattr(getattr(layer, theirs), part)
    return model, parameters


def train_torch(name: str, steps: int, path: str, nudged: bool) -> list[float]:
    import importlib
    import types

    import torch

    # The peer's package without its core, which PyTorch's interpreter need not have.
    package = types.ModuleType("narrows")
    package.__path__ = [str(Path(__file__).parents[1] / "python" / "narrows")]
    sys.modules["narrows"] = package
    torch_peer = importlib.import_module("narrows.bench.torch_peer")
    arrays = dict(np.load(path))
    if nudged:
        for key in set(arrays) - {"inputs", "targets", "table"}:
            arrays[key] = np.nextafter(arrays[key], np.float32(np.inf))
    make = {"resnet": torch_resnet, "transformer": torch_transformer}[name]
    model, parameters = make(torch, torch_peer, arrays)
    with torch.no_grad():
        for key, parameter in parameters.items():
            value = torch.tensor(arrays[key])
            parameter.copy_(value.permute(0, 3, 1, 2) if value.ndim == 4 else value)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) == len(parameters), "every parameter gets a value"
    optimizer = (torch.optim.Adam if name == "resnet" else torch.optim.AdamW)(trained, RATE)
    inputs, targets = (torch.tensor(arrays[key]) for key in ("inputs", "targets"))
    losses = []
    if nudged:
        inputs, targets = inputs.flip(1), targets.flip(1)
    for i in range(steps):
        x, y = inputs[i % BATCHES], targets[i % BATCHES]
        optimizer.zero_grad(set_to_none=True)
        output = model(x.permute(0, 3, 1, 2) if name == "resnet" else x)
        loss = torch.nn.functional.cross_entropy(output.flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def print_distance(what: str, a: np.ndarray, b: np.ndarray) -> None:
    apart = np.abs(a - b)
    tenth = max(1, len(a) // 10)
    print(
        f"  {what}: apart by at most {apart[:tenth].max():.1e} in the first {tenth} steps, "
        f"{apart.max():.1e} in all, and in the mean of the last {tenth} by "
        f"{abs(a[-tenth:].mean() - b[-tenth:].mean()):.1e}"
    )


def compare(name: str, steps: int, torch_python: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "start.npz")
        ours = np.array(train_narrows(name, steps, path))
        command = [torch_python, __file__, name, "--steps", str(steps), "--peer", path]
        theirs, control = (
            np.array(json.loads(answer.splitlines()[-1]))
            for answer in (
                subprocess.run(
                    [*command, *more], check=True, stdout=subprocess.PIPE, text=True
                ).stdout
                for more in ([], ["--nudged"])
            )
        )
    print(
        f"{name}, {steps} steps: losses {ours[0]:.4f} to {ours[-1]:.4f}, "
        f"PyTorch {theirs[0]:.4f} to {theirs[-1]:.4f}"
    )
    print_distance("narrows and PyTorch", ours, theirs)
    print_distance("PyTorch and itself with other rounding", theirs, control)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", nargs="?", choices=list(BATCHES_OF), help="default: both")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--torch-python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--nudged", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in [options.workload] if options.workload else BATCHES_OF:
        if options.peer:
            print(json.dumps(train_torch(name, options.steps, options.peer, options.nudged)))
        else:
            compare(name, options.steps, options.torch_python)


if __name__ == "__main__":
    main()
