"""The llm workload in llama.cpp: random weights of the same shape in its 4-bit format Q4_0."""

import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from .peers import resident_peak, timed
from .workloads.llama import Config


def write_model(path: Path, config: Config) -> None:
    """A GGUF file with random weights."""
    size, kind = config.head_size, gguf.GGMLQuantizationType.Q4_0
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}".encode() for i in range(config.vocab_size)])
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types([1] * config.vocab_size)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_Q4_0))
    random = np.random.default_rng(0)

    def add(name: str, rows: int, columns: int) -> None:
        weight = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)

    dims, kv_dims = config.hidden_size, config.num_key_value_heads * size
    hidden = config.intermediate_size
    add("token_embd.weight", config.vocab_size, dims)
    writer.add_tensor("output_norm.weight", np.ones(dims, np.float32))
    for i in range(config.num_hidden_layers):
        for name, rows, columns in (
            ("attn_q", dims, dims),
            ("attn_k", kv_dims, dims),
            ("attn_v", kv_dims, dims),
            ("attn_output", dims, dims),
            ("ffn_gate", hidden, dims),
            ("ffn_up", hidden, dims),
            ("ffn_down", dims, hidden),
        ):
            add(f"blk.{i}.{name}.weight", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", np.ones(dims, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCppWorker:
    def __init__(self, request: dict) -> None:
        if request["workload"] != "llm":
            raise ValueError(f"[bench] llama.cpp has no workload {request['workload']!r}")
        full = request["options"].get("scale") == "full"
        self.prompt_length, self.new = (512, 128) if full else (64, 16)
        self.config = Config()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "model.gguf"
            write_model(path, self.config)
            # Mapped: the file may go as soon as it is open.
            layers = -1 if request["device"] == "gpu" else 0
            self.model = llama_cpp.Llama(
                str(path), n_ctx=1024, n_batch=512, n_gpu_layers=layers, verbose=False
            )
        self.prompt = np.random.default_rng(1).integers(0, self.config.vocab_size, 512).tolist()

    def answer(self, request: dict) -> dict:
        model = self.model
        model.reset()

        def prefill() -> None:
            model.eval(self.prompt[: self.prompt_length])

        def decode() -> None:
            for _ in range(self.new):
                model.eval([model.sample(temp=0.0)])

        phases = {
            "prefill": timed(prefill, self.prompt_length),
            "decode": timed(decode, self.new),
        }
        return {"peak": resident_peak(), "phases": phases, "predicted": None}
