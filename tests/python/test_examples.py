"""The programs in examples/ do what they say, in small sizes."""

import gzip
import pathlib
import re
import struct
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest
from support import needs

pytest.importorskip("tqdm")
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def output(name, *arguments, cwd):
    done = run(name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern, text):
    return [float(found) for found in re.findall(pattern, text)]


def test_every_example_is_tested():
    here = pathlib.Path(__file__).read_text()
    names = [path.stem for path in EXAMPLES.glob("*.py")]
    assert len(names) >= 5 and all(f'"{name}"' in here for name in names)


SMALL_MLP = ["--images", "1000", "--hidden", "64", "--batch", "50"]


@needs("random.permutation", "save_safetensors", "load")
def test_train_mlp(tmp_path):
    whole = output("train_mlp", *SMALL_MLP, "--epochs", "5", cwd=tmp_path)
    losses, accuracies = numbers(r"loss ([\d.]+)", whole), numbers(r"accuracy ([\d.]+)", whole)
    assert len(losses) == 5 and losses[-1] < losses[0] / 2 and accuracies[-1] > 0.4
    checkpoint = tmp_path / "build" / "mlp.safetensors"
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]
    _, metadata = mx.load(str(checkpoint), return_metadata=True)
    assert metadata["epoch"] == "5"
    resumed = output("train_mlp", *SMALL_MLP, "--epochs", "6", "--resume", cwd=tmp_path)
    (loss,) = numbers(r"loss ([\d.]+)", resumed)
    assert "epoch 6" in resumed and loss < 1.2 * losses[-1]


@needs("random.permutation", "save_safetensors", "load")
def test_train_mlp_reads_mnist(tmp_path):
    labels = np.arange(200, dtype=np.uint8) % 10
    images = np.repeat(25 * labels, 28 * 28).reshape(200, 28, 28)
    for part, suffix in (("train", ".gz"), ("t10k", "")):
        for kind, header, values in (
            ("labels-idx1", struct.pack(">ii", 2049, 200), labels),
            ("images-idx3", struct.pack(">iiii", 2051, 200, 28, 28), images),
        ):
            data = header + values.tobytes()
            path = tmp_path / f"{part}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data) if suffix else data)
    arguments = ["--mnist", str(tmp_path), "--epochs", "60", "--hidden", "32", "--batch", "50"]
    found = output("train_mlp", *arguments, cwd=tmp_path)
    assert numbers(r"accuracy ([\d.]+)", found)[-1] > 0.5


@needs("fast.scaled_dot_product_attention")
def test_finetune_lora(tmp_path):
    small = ["--steps", "100", "--digits", "4", "--dims", "32", "--layers", "2"]
    found = output("finetune_lora", *small, cwd=tmp_path)
    pattern = r"loss ([\d.]+) before, ([\d.]+) after, ([\d.]+) merged"
    before, after, merged = map(float, re.search(pattern, found).groups())
    assert after < before / 2 and merged == pytest.approx(after, abs=2e-3)
    trained, total = map(int, re.search(r"(\d+) of (\d+) parameters", found).groups())
    assert trained == 2 * 4 * 4 * (32 + 32) and trained < total / 5
    pattern = r"([\d.]+) MB beside the weights; with LoRA ([\d.]+)"
    whole, lora = map(float, re.search(pattern, found).groups())
    assert lora < whole


@needs("fast.scaled_dot_product_attention")
def test_generate_text(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 20)
    small = ["--text", str(text), "--steps", "150", "--dims", "32", "--length", "48"]
    small += ["--layers", "1", "--prompt", "the quick", "--count", "40", "--temperature", "0"]
    found = output("generate_text", *small, cwd=tmp_path)
    assert "brown fox jumps" in found.splitlines()[-1]
    assert len(found.splitlines()[-1]) == len("the quick") + 40


def test_generate_text_names_what_is_wrong(tmp_path):
    done = run("generate_text", "--prompt", "Ω", cwd=tmp_path)
    assert done.returncode == 2 and "without ['Ω']" in done.stderr


def test_custom_function(tmp_path):
    found = output("custom_function", "--steps", "150", cwd=tmp_path)
    plain, own = numbers(r"error ([\d.]+)", found)
    assert own < plain / 5
    assert "backwards agree: True" in found and "one by one agree: True" in found


def test_memory_and_budget(tmp_path, on_cpu):
    found = output("memory_and_budget", "--batch", "1024", "--page", "step.html", cwd=tmp_path)
    (peak,) = numbers(r"steps, peak ([\d.]+) MB", found)
    (limit,) = numbers(r"a limit of ([\d.]+) MB", found)
    kept, twice, parts, chosen = found.splitlines()[-4:]
    assert "cannot allocate" in kept
    peaks = []
    for line in (twice, parts, chosen):
        pattern = r"peak ([\d.]+) MB, predicted ([\d.]+) MB"
        measured, predicted = map(float, re.search(pattern, line).groups())
        assert measured == predicted <= limit < peak
        peaks.append(measured)
    assert peaks[1] < peaks[0]
    assert "memory_and_budget.py:" in found
    assert (tmp_path / "step.html").read_text().startswith("<!")
