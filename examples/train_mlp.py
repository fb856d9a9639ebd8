"""Trains a network on images of digits, with a progress bar, and keeps a checkpoint of it.

python examples/train_mlp.py                    # digits that the program draws itself
python examples/train_mlp.py --mnist DIRECTORY  # MNIST's four files, as published
python examples/train_mlp.py --resume           # goes on where the checkpoint ends
"""

import argparse
import gzip
import json
import os
from pathlib import Path

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
from narrows.utils import tree_flatten, tree_unflatten
from tqdm import tqdm

SIZE = 28
# Digits of seven segments: top, upper left, upper right, middle, lower left, lower right, bottom.
SEGMENTS = ["1110111", "0010010", "1011101", "1011011", "0111010"]
SEGMENTS += ["1101011", "1101111", "1010010", "1111111", "1111011"]


def digit_shapes() -> mx.array:
    """The ten digits as images (10, 20, 12) of zeros and ones."""
    boxes = [(0, 3, 0, 12), (0, 11, 0, 3), (0, 11, 9, 12), (9, 12, 0, 12)]
    boxes += [(9, 20, 0, 3), (9, 20, 9, 12), (17, 20, 0, 12)]
    images = mx.zeros((10, 20, 12))
    for digit, segments in enumerate(SEGMENTS):
        for (top, bottom, left, right), drawn in zip(boxes, segments):
            if drawn == "1":
                images[digit, top:bottom, left:right] = 1
    return images


def draw_digits(count: int) -> tuple[mx.array, mx.array]:
    """Images (count, 784) of digits at random places, under noise, and the digits."""
    labels = mx.random.randint(0, 10, (count,))
    padded = mx.pad(digit_shapes(), [(0, 0), (8, 8), (16, 16)])
    rows = mx.random.randint(0, 9, (count, 1)) + mx.arange(SIZE)
    columns = mx.random.randint(0, 17, (count, 1)) + mx.arange(SIZE)
    images = padded[labels[:, None, None], rows[:, :, None], columns[:, None, :]]
    images = images + 0.4 * mx.random.normal(images.shape)
    return images.reshape(count, SIZE * SIZE), labels


def read_idx(path: Path, header: int) -> mx.array:
    """The bytes of a file of MNIST, compressed or not, without its header."""
    packed = path.with_name(path.name + ".gz")
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return mx.array(memoryview(data)[header:])


def read_mnist(directory: Path, part: str) -> tuple[mx.array, mx.array]:
    labels = read_idx(directory / f"{part}-labels-idx1-ubyte", 8).astype(mx.int32)
    images = read_idx(directory / f"{part}-images-idx3-ubyte", 16)
    images = images.reshape(labels.size, SIZE * SIZE).astype(mx.float32)
    return images / 255, labels


def make_model(hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(SIZE * SIZE, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def save_checkpoint(path: Path, model: nn.Module, optimizer: optim.Optimizer, epoch: int) -> None:
    """Writes beside the old checkpoint first, so that an interruption leaves that one whole."""
    arrays = tree_flatten({"model": model.parameters(), "optimizer": optimizer.state})
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name("unfinished_" + path.name)
    mx.save_safetensors(str(unfinished), dict(arrays), metadata={"epoch": json.dumps(epoch)})
    os.replace(unfinished, path)


def load_checkpoint(path: Path, model: nn.Module, optimizer: optim.Optimizer) -> int:
    """Restores model and optimizer, and gives the number of epochs that are done."""
    arrays, metadata = mx.load(str(path), return_metadata=True)
    state = tree_unflatten(list(arrays.items()))
    model.update(state["model"])
    optimizer.state = state["optimizer"]
    mx.eval(model.parameters(), optimizer.state)
    return json.loads(metadata["epoch"])


def accuracy(model: nn.Module, images: mx.array, labels: mx.array) -> float:
    return mx.mean(mx.argmax(model(images), axis=1) == labels).item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/mlp.safetensors"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=20000, help="how many are drawn")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()

    mx.random.seed(0)
    if options.mnist:
        images, labels = read_mnist(options.mnist, "train")
        test = read_mnist(options.mnist, "t10k")
    else:
        images, labels = draw_digits(options.images)
        test = draw_digits(2000)
    mx.eval(images, labels, test)

    model = make_model(options.hidden)
    optimizer = optim.AdamW(learning_rate=1e-3)
    optimizer.init(model.trainable_parameters())
    first = load_checkpoint(options.checkpoint, model, optimizer) if options.resume else 0

    def loss(images: mx.array, labels: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(images), labels, reduction="mean")

    loss_and_gradients = nn.value_and_grad(model, loss)
    batches = labels.size // options.batch
    for epoch in range(first, options.epochs):
        order = mx.random.permutation(labels.size)
        total = mx.array(0.0)
        with tqdm(range(batches), desc=f"epoch {epoch + 1}", unit="batch") as bar:
            for i in bar:
                rows = order[i * options.batch : (i + 1) * options.batch]
                value, gradients = loss_and_gradients(images[rows], labels[rows])
                optimizer.update(model, gradients)
                total = total + value
                mx.eval(model.parameters(), optimizer.state, total)
                if i % 20 == 19:
                    bar.set_postfix(loss=f"{total.item() / (i + 1):.3f}")
        save_checkpoint(options.checkpoint, model, optimizer, epoch + 1)
        print(f"epoch {epoch + 1}: loss {total.item() / batches:.4f}", end=", ")
        print(f"accuracy {accuracy(model, *test):.3f}, peak {mx.get_peak_memory() / 1e6:.1f} MB")
    print(f"checkpoint: {options.checkpoint}")


if __name__ == "__main__":
    main()
