"""Weights that are loaded lazily and quantized in one evaluation: exact bytes."""

import gc

import narrows.core as mx
import narrows.nn as nn
import pytest
from support import name_of, needs

pytestmark = [
    pytest.mark.usefixtures("on_cpu", "memory"),
    needs("quantize", "save_safetensors", "load"),
]
SHAPES = [(512, 256), (256, 256), (64, 256), (1024, 256), (256, 1024), (512, 256)]
# More than 32 MB, which the memory order leaves as they are.
LARGE = [(1024, 2048)] * 7 + [(2048, 2048)]


def quantized_bytes(shape, bits, dtype):
    """Of codes, and of a scale and a bias for each group of 64."""
    count = shape[0] * shape[1]
    return count * bits // 8 + 2 * (count // 64) * dtype.size


def save(path, shapes, dtype):
    names = [f"w{i}.weight" for i in range(len(shapes))]
    mx.save_safetensors(
        str(path), {name: mx.full(shape, 0.5, dtype) for name, shape in zip(names, shapes)}
    )
    gc.collect()
    mx.clear_cache()


def quantize_arrays(path, shapes, bits):
    return [mx.quantize(w, group_size=64, bits=bits) for w in mx.load(str(path)).values()]


class Layers(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        for i, (rows, columns) in enumerate(shapes):
            self[f"w{i}"] = nn.Linear(columns, rows, bias=False)


def quantize_layers(path, shapes, bits):
    """As a program converts a model: its first weights are never computed."""
    model = Layers(shapes)
    model.load_weights(str(path))
    nn.quantize(model, group_size=64, bits=bits)
    return model.parameters()


def peaks(make, path, shapes, bits):
    """Predicted and measured, and what stays; all above what was there before."""
    gc.collect()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    outputs = make(path, shapes, bits)
    gc.collect()
    assert mx.get_active_memory() - before < 4096, "something was read or computed too early"
    predicted = mx.plan(outputs).predicted_peak
    mx.eval(outputs)
    measured = mx.get_peak_memory()
    assert predicted == measured
    return measured - before, mx.get_active_memory() - before


@pytest.mark.parametrize("make", [quantize_arrays, quantize_layers])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32], ids=name_of)
def test_width_1_has_one_float_tensor_at_a_time(dtype, bits, make, tmp_path):
    save(tmp_path / "w.safetensors", SHAPES, dtype)
    with mx.bfs_max_width(1):
        peak, stays = peaks(make, tmp_path / "w.safetensors", SHAPES, bits)
    # The last output is computed first. A weight dies when its codes are there.
    done, expected = 0, 0
    for shape in reversed(SHAPES):
        done += quantized_bytes(shape, bits, dtype)
        expected = max(expected, done + shape[0] * shape[1] * dtype.size)
    slack = 4096 if make is quantize_layers else 0
    assert done <= stays <= done + slack
    assert expected <= peak <= expected + slack


@pytest.mark.parametrize("make", [quantize_arrays, quantize_layers])
@pytest.mark.parametrize("dtype", [mx.float16, mx.float32], ids=name_of)
def test_memory_order_needs_less_than_two_float_tensors(dtype, make, tmp_path):
    save(tmp_path / "w.safetensors", LARGE, dtype)
    with mx.bfs_max_width(1):
        width_1, _ = peaks(make, tmp_path / "w.safetensors", LARGE, 4)
    with mx.order_policy("memory"):
        peak, stays = peaks(make, tmp_path / "w.safetensors", LARGE, 4)
    largest = max(rows * columns for rows, columns in LARGE) * dtype.size
    assert peak <= stays + 2 * largest
    assert peak <= width_1
