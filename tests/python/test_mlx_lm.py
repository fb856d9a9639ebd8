"""mlx-lm from PyPI runs on narrows, on small checkpoints that mlx_lm_model.py makes.

data/mlx_lm_logits.json has what MLX 0.32.4 computes with mlx-lm 0.32.2 on the same checkpoints.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from support import needs

if importlib.util.find_spec("mlx_lm") is None:
    pytest.skip("mlx-lm is not installed: the extra mlx-lm", allow_module_level=True)
HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "mlx_lm_model.py"
MLX = json.loads((HERE / "data/mlx_lm_logits.json").read_text())
KINDS = list(MLX)
# Nothing is to be asked of the network.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "0"}

FOR_MODELS = [
    "load",
    "argpartition",
    "quantize",
    "dequantize",
    "quantized_matmul",
    "fast.scaled_dot_product_attention",
]
FOR_KIND = {"deepseek_v3": ["gather_mm", "gather_qmm"], "mamba": ["conv1d"]}
MARKS = {kind: needs(*FOR_MODELS, *FOR_KIND.get(kind, [])) for kind in KINDS}


def run(*arguments, stdin=None, timeout=300):
    """Runs a program of mlx-lm and gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "narrows.mlx", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **OFFLINE},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", done.stdout)  # without colours


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """checkpoint(kind): the directory of one."""
    root = tmp_path_factory.mktemp("checkpoints")

    def make(kind):
        directory = root / kind
        if not directory.exists():
            run(PROGRAM, "write", kind, directory)
        return directory

    return make


@pytest.mark.parametrize("kind", [pytest.param(k, marks=MARKS[k]) for k in KINDS])
def test_model_computes_what_it_computes_in_mlx(kind, checkpoint):
    found = json.loads(run(PROGRAM, "check", checkpoint(kind)).splitlines()[-1])
    expected = MLX[kind]
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=2e-4, atol=2e-4)
    assert found["cached_difference"] < 2e-4
    assert found["greedy"] == found["greedy_without_cache"] == expected["greedy"]
    assert found["text"]
    assert found["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-4)
    assert found["perplexity"] == pytest.approx(found["perplexity_by_numpy"], rel=1e-4)
    assert found["quantized_layers"] == expected["quantized_layers"]
    quantized = expected["quantized_perplexity"]
    assert found["quantized_perplexity"] == pytest.approx(quantized, rel=2e-3)


llama = MARKS["llama"]


@llama
def test_generate_command(checkpoint):
    arguments = ["--model", checkpoint("llama"), "--prompt", "Hello", "--max-tokens", "8"]
    first, second = (run("-m", "mlx_lm", "generate", *arguments, "--temp", "0") for _ in range(2))

    def text(printed):
        return printed.split("==========")[1]

    assert text(first).strip() and text(first) == text(second)
    assert "Generation: 8 tokens" in first and "Peak memory" in first


@llama
def test_chat_command(checkpoint):
    arguments = ["--model", checkpoint("llama"), "--max-tokens", "6", "--temp", "0"]
    printed = run("-m", "mlx_lm", "chat", *arguments, stdin="Hello\nAgain\nr\nHello\nq\n")
    assert len(re.findall(r"6 tokens .* tok/s", printed)) == 3
    assert "context cleared" in printed and "bye" in printed


@llama
@needs("save_safetensors")
@pytest.mark.parametrize("bits", [4, 8])
def test_convert_command_quantizes(bits, checkpoint, tmp_path):
    source, converted = checkpoint("llama"), tmp_path / "converted"
    arguments = ["--hf-path", source, "--mlx-path", converted, "-q"]
    run("-m", "mlx_lm", "convert", *arguments, "--q-bits", str(bits), "--q-group-size", "32")
    config = json.loads((converted / "config.json").read_text())
    assert config["quantization"]["bits"] == bits and config["quantization"]["group_size"] == 32
    sizes = [(path / "model.safetensors").stat().st_size for path in (source, converted)]
    assert sizes[1] < sizes[0] * (bits + 2.5) / 32
    prompt = ["--prompt", "Hello", "--max-tokens", "4", "--temp", "0"]
    assert "Generation: 4 tokens" in run("-m", "mlx_lm", "generate", "--model", converted, *prompt)


@llama
@needs("save_safetensors")
def test_lora_command_trains_and_fuse_merges(checkpoint, tmp_path):
    data, adapters, fused = (tmp_path / name for name in ("data", "adapters", "fused"))
    data.mkdir()
    lines = "".join(json.dumps({"text": "abcdefgh" * 6}) + "\n" for _ in range(8))
    for name in ("train", "valid", "test"):
        (data / f"{name}.jsonl").write_text(lines)
    model = ["--model", checkpoint("llama")]
    printed = run(
        *["-m", "mlx_lm", "lora", *model, "--train", "--test", "--data", data],
        *["--iters", "40", "--batch-size", "4", "--num-layers", "2", "--learning-rate", "5e-3"],
        *["--adapter-path", adapters, "--steps-per-report", "20", "--steps-per-eval", "40"],
        *["--val-batches", "1", "--test-batches", "1", "--grad-checkpoint", "--save-every", "20"],
    )
    losses = [float(found) for found in re.findall(r"val +([\d.]+)", printed)]
    assert len(losses) == 2 and losses[1] < 0.6 * losses[0]
    test_loss = float(printed.split("Test loss ")[1].split(",")[0])
    assert test_loss == pytest.approx(losses[1], rel=0.05)
    assert (adapters / "adapters.safetensors").exists()

    prompt = ["--prompt", "abcdefgh", "--ignore-chat-template", "--max-tokens", "8", "--temp", "0"]
    adapted = ["--adapter-path", adapters]
    with_adapters = run("-m", "mlx_lm", "generate", *model, *adapted, *prompt)
    run("-m", "mlx_lm", "fuse", *model, *adapted, "--save-path", fused)
    merged = run("-m", "mlx_lm", "generate", "--model", fused, *prompt)
    assert merged.split("==========")[1] == with_adapters.split("==========")[1]


@contextlib.contextmanager
def server(model):
    """The address of mlx-lm's server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "narrows.mlx", "-m", "mlx_lm", "server"]
    process = subprocess.Popen(
        [*command, "--model", str(model), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **OFFLINE, "HF_HUB_CACHE": str(model.parent)},
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{address}/health", timeout=5).read()
                break
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)


def post(address, path, **body):
    request = urllib.request.Request(
        address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=120).read().decode()


@llama
def test_server_answers(checkpoint):
    message = {"role": "user", "content": "Hello"}
    options = {"messages": [message], "max_tokens": 6, "temperature": 0.0}
    with server(checkpoint("llama")) as address:
        models = json.loads(urllib.request.urlopen(f"{address}/v1/models", timeout=60).read())
        assert models["object"] == "list"
        answer = json.loads(post(address, "/v1/chat/completions", **options))
        assert answer["usage"]["completion_tokens"] == 6
        text = answer["choices"][0]["message"]["content"]
        again = json.loads(post(address, "/v1/chat/completions", **options))
        assert again["choices"][0]["message"]["content"] == text
        streamed = post(address, "/v1/chat/completions", **options, stream=True)
        lines = [line[6:] for line in streamed.splitlines() if line.startswith("data: {")]
        parts = [choice for line in lines for choice in json.loads(line)["choices"]]
        assert "".join(part["delta"].get("content") or "" for part in parts) == text
        completion = json.loads(post(address, "/v1/completions", prompt="Hello", max_tokens=3))
        assert completion["usage"]["completion_tokens"] == 3
        with pytest.raises(urllib.error.HTTPError) as raised:
            post(address, "/v1/chat/completions", messages=[message], max_tokens=-1)
        assert raised.value.code == 400
