"""The workloads in PyTorch's eager mode; not llm, as PyTorch has no product with 4-bit weights for
CPUs."""

import torch
import torch.nn.functional as functional
from torch import nn

from .peers import resident_peak, timed
from .workloads import quantize, transformer


class Cast:
    phase, amount = "cast", 1

    def __init__(self, full: bool, device: torch.device) -> None:
        self.device = device

    def run(self) -> None:
        shape, options = (4096, 128), {"dtype": torch.int64, "device": self.device}
        self.results = [torch.zeros(shape, **options).to(torch.int8) for _ in range(1000)]
        self.results.clear()


class Quantize:
    phase, amount = "quantize", 1

    def __init__(self, full: bool, device: torch.device) -> None:
        self.shapes = quantize.FULL if full else quantize.SMALL
        self.device = device

    def run(self) -> None:
        results = []
        for shape in self.shapes:
            weight = torch.randn(shape, device=self.device).half().view(shape[0], -1, 64)
            low, high = weight.amin(-1, keepdim=True), weight.amax(-1, keepdim=True)
            scale = (high - low) / 15
            values = ((weight - low) / scale).round().clamp(0, 15).to(torch.uint8)
            results.append((values[..., ::2] | (values[..., 1::2] << 4), scale, low))


class Training:
    """Steps of an optimizer on one batch."""

    amount: float

    def train(self, model, optimizer, loss, inputs, targets, steps: int) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.inputs, self.targets, self.steps = inputs, targets, steps
        self.run()

    def run(self) -> None:
        for _ in range(self.steps):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.model(self.inputs), self.targets).backward()
            self.optimizer.step()


class LanguageModel(nn.Module):
    def __init__(self, sizes: transformer.Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.dims)
        self.register_buffer("position", torch.randn(sizes.length, sizes.dims))
        layer = nn.TransformerEncoderLayer(
            sizes.dims,
            sizes.heads,
            4 * sizes.dims,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)
        self.output = nn.Linear(sizes.dims, sizes.vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        x = self.embedding(tokens) + self.position[:length]
        return self.output(self.encoder(x, mask=mask, is_causal=True))


class Transformer(Training):
    phase = "train"

    def __init__(self, full: bool, device: torch.device) -> None:
        sizes = transformer.FULL if full else transformer.SMALL
        self.amount = sizes.steps
        model = LanguageModel(sizes).to(device)
        tokens, targets = (
            torch.randint(0, sizes.vocabulary, (sizes.batch, sizes.length), device=device)
            for _ in range(2)
        )

        def loss(logits, targets):
            return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        self.train(model, optimizer, loss, tokens, targets, sizes.steps)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(Training):
    phase = "train"

    def __init__(self, full: bool, device: torch.device) -> None:
        batch, steps = (256, 10) if full else (32, 5)
        self.amount = batch * steps
        layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        inputs = 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            for i in range(3):
                layers.append(Block(inputs, outputs, stride if i == 0 else 1))
                inputs = outputs
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        layout = torch.channels_last
        model = nn.Sequential(*layers).to(device).to(memory_format=layout)
        images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=layout)
        labels = torch.randint(0, 10, (batch,), device=device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        self.train(model, optimizer, functional.cross_entropy, images, labels, steps)


WORKLOADS = {"cast": Cast, "quantize": Quantize, "transformer": Transformer, "resnet": ResNet}


class TorchWorker:
    def __init__(self, request: dict) -> None:
        self.is_cuda = request["device"] == "gpu"
        device = torch.device("cuda" if self.is_cuda else "cpu")
        torch.manual_seed(0)
        full = request["options"].get("scale") == "full"
        self.workload = WORKLOADS[request["workload"]](full, device)

    def answer(self, request: dict) -> dict:
        work = self.workload
        synchronize = torch.cuda.synchronize if self.is_cuda else lambda: None
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        phase = timed(work.run, work.amount, synchronize)
        peak = torch.cuda.max_memory_allocated() if self.is_cuda else resident_peak()
        return {"peak": peak, "phases": {work.phase: phase}, "predicted": None}
