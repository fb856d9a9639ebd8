"""The five workloads: what they compute, that peaks are predicted, and the command around them."""

import io
import json
import subprocess
import sys

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from narrows.bench import __main__ as command
from narrows.bench import generate, plot, table
from narrows.bench.measure import Result, Row
from narrows.bench.workloads import WORKLOADS, cifar, llama, llm, quantize, resnet, transformer
from narrows.bench.workloads.base import Library, Options, Phase, PlannedRun, Run
from support import needs, to_numpy

pytest.importorskip("tqdm")
pytestmark = pytest.mark.usefixtures("on_cpu", "memory")

TINY = llama.Config(
    num_hidden_layers=2,
    hidden_size=64,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=128,
    vocab_size=96,
)
NEEDS = {
    "cast": [],
    "llm": ["quantize", "quantized_matmul", "dequantize", "fast.scaled_dot_product_attention"],
    "transformer": ["fast.scaled_dot_product_attention"],
    "resnet": ["conv2d"],
    "quantize": ["quantize"],
}
MARKED = [pytest.param(name, marks=needs(*NEEDS[name])) for name in WORKLOADS]
ORDERS = ["memory", "1", "10", "unlimited"]


@pytest.fixture
def library():
    return Library("narrows", "cpu")


@pytest.fixture
def small(monkeypatch):
    """The workloads in sizes that take no time, with graphs of the same form."""
    sizes = transformer.Sizes(50, 2, 16, 2, 32, 2, steps=3)
    monkeypatch.setattr(transformer, "SMALL", sizes)
    monkeypatch.setattr(quantize, "SMALL", quantize.weight_shapes(2, 256, 512, 64, 320))
    monkeypatch.setattr(llama, "Config", lambda: TINY)
    monkeypatch.setattr(llm.LanguageModel, "__init__", tiny_init(llm.LanguageModel.__init__))
    monkeypatch.setattr(resnet.ResNet, "__init__", tiny_init(resnet.ResNet.__init__))


def tiny_init(init):
    def made(self, library, options):
        init(self, library, options)
        if self.name == "llm":
            self.prompt_length, self.new = 12, 5
            self.prompt = self.prompt[:, :12]
        else:
            self.batch, self.steps = 4, 2

    return made


def scope(order):
    if order == "memory":
        return mx.order_policy("memory")
    return mx.bfs_max_width(2**31 - 1 if order == "unlimited" else int(order))


@pytest.mark.parametrize("name", MARKED)
def test_peaks_are_predicted_in_every_order(name, library, small):
    if name == "cast":
        orders = ["memory"]  # half a gigabyte, each time
    else:
        orders = ORDERS
    workload = WORKLOADS[name](library, Options())
    for order in orders:
        run = PlannedRun(mx)
        with scope(order):
            mx.clear_cache()
            mx.reset_peak_memory()
            workload.round(run)
            assert mx.get_peak_memory() == run.predicted, order
        phase = run.phases[workload.shown_phase]
        assert phase.amount > 0 and phase.seconds > 0


@pytest.mark.parametrize("name", MARKED)
def test_sizes_are_the_published_ones(name):
    """Of the full scale, without running it."""
    if name == "llm":
        config = llama.Config()
        sizes = (config.num_hidden_layers, config.hidden_size, config.vocab_size)
        assert sizes == (16, 2048, 128256) and config.head_size == 64
    elif name == "transformer":
        full = transformer.FULL
        assert (full.layers, full.dims, full.heads, full.length) == (12, 1024, 16, 1024)
    elif name == "quantize":
        assert sum(rows * columns for rows, columns in quantize.FULL) > 8.0e9
    assert all(len(pair) == 2 for pair in WORKLOADS[name].published.values())


@needs(*NEEDS["transformer"])
def test_transformer_learns(library, small):
    workload = transformer.Transformer(library, Options())
    first = workload.step(Run(mx)).item()
    for _ in range(40):
        last = workload.step(Run(mx)).item()
    assert last < first / 2


# ---- CIFAR-10


def write_records(directory, labels, name="data_batch_1.bin"):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    records = [bytes([label]) + image.tobytes() for label, image in zip(labels, images)]
    (directory / name).write_bytes(b"".join(records))
    return images


def test_cifar_is_read(tmp_path):
    parts = [write_records(tmp_path, [3, 9], f"data_batch_{i}.bin") for i in (1, 2)]
    images, labels = cifar.read_batches(mx, str(tmp_path))
    assert labels.tolist() == [3, 9, 3, 9] and labels.dtype == mx.int32
    expected = np.concatenate(parts).transpose(0, 2, 3, 1)
    assert images.dtype == mx.uint8 and np.array_equal(to_numpy(images), expected)


def test_damaged_cifar_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\[resnet\] no data_batch_\*\.bin in"):
        cifar.read_batches(mx, str(tmp_path))
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(b"0" * 3000)
    with pytest.raises(ValueError, match="data_batch_1.bin has 3000 bytes, expected a multiple"):
        cifar.read_batches(mx, str(tmp_path))
    write_records(tmp_path, [1, 77])
    with pytest.raises(ValueError, match="a label 77"):
        cifar.read_batches(mx, str(tmp_path))


def test_augmented_images_are_moved_and_mirrored():
    images, _ = cifar.make_batches(mx, 40)
    found = to_numpy(cifar.augmented(mx, images))
    mean, deviation = np.array(cifar.MEAN), np.array(cifar.DEVIATION)
    normalized = (to_numpy(images) / 255 - mean) / deviation
    padded = np.pad(normalized, [(0, 0), (4, 4), (4, 4), (0, 0)])
    moves = set()
    for image, source in zip(found, padded):
        matches = [
            (row, column, mirrored)
            for row in range(9)
            for column in range(9)
            for mirrored in (False, True)
            if np.allclose(
                image,
                source[row : row + 32, column : column + 32][:, :: -1 if mirrored else 1],
                atol=1e-4,
            )
        ]
        assert len(matches) == 1
        moves.add(matches[0])
    assert len(moves) > 20 and len({mirrored for _, _, mirrored in moves}) == 2


@needs(*NEEDS["resnet"])
def test_resnet_reads_cifar(library, small, tmp_path):
    write_records(tmp_path, [i % 10 for i in range(64)])
    workload = resnet.ResNet(library, Options(cifar=str(tmp_path)))
    assert workload.images.shape == (64, 32, 32, 3)
    workload.round(Run(mx))


# ---- Llama


def test_llama3_frequencies():
    """Short waves stay, long ones are stretched by the factor, and those between in part."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config = llama.Config(head_dim=64, rope_theta=10000.0, rope_scaling=scaling)
    plain = 10000.0 ** (np.arange(0, 64, 2) / 64)
    ratio = to_numpy(llama.rope_frequencies(mx, config)) / plain
    lengths = 2 * np.pi * plain
    np.testing.assert_allclose(ratio[lengths < 64 / 4], 1, rtol=1e-5)
    np.testing.assert_allclose(ratio[lengths > 64], 8, rtol=1e-5)
    between = ratio[(lengths > 64 / 4) & (lengths < 64)]
    assert len(between) and ((between > 1) & (between < 8)).all()
    assert np.all(np.diff(ratio) >= -1e-6)
    assert llama.rope_frequencies(mx, llama.Config()) is None


def test_cache_says_that_it_is_full():
    cache = llama.Cache(4)
    keys = mx.ones((1, 2, 3, 8))
    found, _ = cache.extend(mx, keys, keys)
    assert found.shape == (1, 2, 3, 8) and cache.length == 3
    with pytest.raises(ValueError, match=r"\[llm\] 6 tokens in a cache of 4"):
        cache.extend(mx, keys, keys)


def write_checkpoint(directory, library, config=TINY, quantized=False):
    mx.random.seed(1)
    model = llama.make_model(library, config)
    settings = {name: value for name, value in vars(config).items() if value is not None}
    if quantized:
        nn.quantize(model, group_size=32, bits=8)
        settings["quantization"] = {"group_size": 32, "bits": 8}
    model.save_weights(str(directory / "model.safetensors"))
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", **settings}))
    return model


FILES = ["save_safetensors", "load"]


@needs(*NEEDS["llm"], *FILES)
@pytest.mark.parametrize("tied", [True, False])
def test_quantized_checkpoint_is_loaded(tied, library, tmp_path):
    config = llama.Config(**{**vars(TINY), "tie_word_embeddings": tied})
    model = write_checkpoint(tmp_path, library, config, quantized=True)
    loaded, _ = llama.load(library, str(tmp_path))
    tokens = mx.array([[5, 6, 7, 8]])

    def logits(model):
        return to_numpy(model(tokens, [llama.Cache(4) for _ in range(2)]))

    assert np.array_equal(logits(model), logits(loaded))


@needs(*NEEDS["llm"], *FILES)
def test_text_is_written_as_it_is_generated(library, tmp_path):
    write_checkpoint(tmp_path, library)
    out = io.StringIO()
    generate.stream(str(tmp_path), "5, 6 7", device="cpu", count=6, temperature=0.0, out=out)
    text, _, figures = out.getvalue().partition("\n\n")
    tokens = [int(word) for word in text.split()]
    assert len(tokens) == 6 and "wrote 6 tokens" in figures and "read 3 tokens" in figures

    model, _ = llama.load(library, str(tmp_path))
    expected = [5, 6, 7]
    for _ in range(6):
        caches = [llama.Cache(len(expected)) for _ in range(2)]
        logits = model(mx.array([expected]), caches)
        expected.append(mx.argmax(logits[0, -1]).item())
    assert tokens == expected[3:]


@needs(*NEEDS["llm"], *FILES)
def test_text_ends_where_the_model_ends_it(library, tmp_path):
    write_checkpoint(tmp_path, library)
    workload = llm.LanguageModel(library, Options(model=str(tmp_path)))
    tokens = list(workload.generate([5, 6], 6, 0.0))
    workload.config.eos_token_id = [tokens[2]]
    assert list(workload.generate([5, 6], 6, 0.0)) == tokens[: tokens.index(tokens[2])]
    mx.random.seed(0)
    assert len({tuple(workload.generate([5, 6], 6, 2.0)) for _ in range(4)}) > 1


def test_checkpoint_that_is_no_llama(tmp_path, library):
    with pytest.raises(FileNotFoundError, match=r"\[llm\] no .*config\.json"):
        llama.load(library, str(tmp_path))
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        llama.load(library, str(tmp_path))
    path.write_text('{"model_type": "mamba"}')
    with pytest.raises(ValueError, match="model_type 'mamba', expected 'llama'"):
        llama.load(library, str(tmp_path))
    path.write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"\[llm\] no \*\.safetensors"):
        llama.load(library, str(tmp_path))


def test_prompt_without_tokenizer_is_numbers():
    tokens = generate.TokenNumbers()
    assert tokens.encode("1, 2 3") == [1, 2, 3] and tokens.decode([4, 5]) == " 4 5"
    with pytest.raises(ValueError, match=r"\[llm\] prompt 'Once', expected numbers"):
        tokens.encode("Once")


# ---- the command


def bench(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "narrows.bench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_command_measures_and_writes(tmp_path):
    done = bench(
        *["cast", "--widths", "1", "unlimited", "--rounds", "1", "--peers", "--device", "cpu"],
        *["--json", "out/cast.json"],
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "out/cast.json").read_text())
    assert list(found["orders"]) == ["memory", "1", "unlimited"]
    for row in found["orders"].values():
        assert row["peak"] == row["predicted"] == 1000 * 4096 * 128
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cast: ") and "predicted = measured" in lines
    assert [line.split()[0] for line in lines[4:7]] == ["memory", "width", "width"]
    assert "4251" in lines[6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "invalid choice: 'nothing'"),
        (["cast", "--widths", "0"], "width '0', expected a positive number or unlimited"),
        (["cast", "--rounds", "none"], "'none', expected a positive number"),
        (["cast", "--python", "jax=x"], "'jax=x', expected PEER=PATH"),
        (["cast", "--prompt", "Hello"], "--prompt: expected the workload llm and --model"),
        (["llm", "--prompt", "Hello"], "--prompt: expected the workload llm and --model"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_failures_name_the_workload(tmp_path):
    arguments = ["--rounds", "1", "--peers", "--device", "cpu"]
    done = bench("resnet", "--cifar", str(tmp_path), *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "resnet: FileNotFoundError: [resnet] no data_batch_*.bin in" in done.stderr
    done = bench("cast", "--python", "torch=/nowhere/python", *arguments[:2], cwd=tmp_path)
    assert done.returncode == 1 and "/nowhere/python cannot import torch" in done.stderr


def result():
    def row(peak, seconds, predicted):
        rounds = [{"peak": peak, "phases": {"train": [10, s]}} for s in seconds]
        planned = {"peak": peak, "predicted": predicted, "phases": {}}
        return Row(rounds, planned if predicted else None)

    orders = {"memory": row(50_000_000, [2, 5, 4], 50_000_000)}
    orders["1"] = row(60_000_000, [2.0], 60_000_064)
    peers = {"torch": row(900_000_000, [1.0], None)}
    return Result("transformer", "small", "cpu", orders, peers, {"1": 70_000_000})


def test_table():
    lines = table.table(result(), 3).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["memory"][1:4] == ["2.500", "50.0", "50.0"]  # 10 steps, median 4 s
    assert rows["width"][2:] == ["5.000", "60.0", "60.0", "3.320", "5204", "70.0"]
    assert rows["torch"][1:] == ["10.0", "900.0*"]
    assert lines[-1] == ("predicted ≠ measured: 1: measured 60000000, predicted 60000064 bytes")
    assert lines[-2].startswith("* resident")


def test_summary():
    exact = result()
    exact.orders = {"memory": exact.orders["memory"]}
    assert table.summary([result(), exact]).splitlines() == [
        "| peak MB (speed) | memory | width 1 | predicted = measured |",
        "|---|---|---|---|",
        "| transformer (it/s) | 50.0 (2.500) | 60.0 (5.000) | no |",
        "| transformer (it/s) | 50.0 (2.500) | - | yes |",
    ]


def test_phase_is_the_median_of_rounds():
    assert result().orders["memory"].phase("train") == Phase(10, 4)


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    plot.save([result(), result()], tmp_path / "new" / "bench.png")
    assert (tmp_path / "new" / "bench.png").read_bytes().startswith(b"\x89PNG")
