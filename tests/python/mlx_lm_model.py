"""A program for mlx-lm: makes small random checkpoints, and says what their models compute.

    python -m narrows.mlx tests/python/mlx_lm_model.py write KIND DIRECTORY
    python -m narrows.mlx tests/python/mlx_lm_model.py check DIRECTORY

Under narrows.mlx it is run by test_mlx_lm.py. With MLX itself, `check` gave the values in
data/mlx_lm_logits.json.
"""

import json
import math
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm import generate, load
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.perplexity import eval_ppl
from mlx_lm.sample_utils import make_logits_processors, make_sampler
from mlx_lm.utils import _get_classes, quantize_model
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 288
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 256,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 32,
}
MAMBA = {
    "state_size": 8,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 8,
}
GEMMA = {
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "sliding_window": 8,
    "sliding_window_pattern": 2,
    "rope_local_base_freq": 10000.0,
}
CONFIGS = {
    "llama": {"rope_scaling": LLAMA3_ROPE},
    "qwen3": {"head_dim": 32},
    "mistral": {"tie_word_embeddings": False, "sliding_window": None},
    "gemma3_text": GEMMA,
    "phi3": {"tie_word_embeddings": False, "num_key_value_heads": 4},
    "deepseek_v3": DEEPSEEK,
    "mamba": MAMBA,
}
CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def write_tokenizer(directory: Path) -> None:
    """Bytes as tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[0],
        "chat_template": CHAT,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def write_checkpoint(kind: str, directory: Path) -> None:
    """A checkpoint whose weights are the same wherever this runs."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {"model_type": kind, **SIZES, **CONFIGS[kind]}
    model_class, arguments_class = _get_classes(config)
    model = model_class(arguments_class.from_dict(config))
    random = np.random.default_rng(0)
    weights = {}
    for name, parameter in sorted(tree_flatten(model.parameters())):
        noise = random.standard_normal(parameter.shape, dtype=np.float32)
        is_norm = parameter.ndim == 1 and name.endswith("weight")
        weights[name] = 1 + 0.1 * noise if is_norm else noise / math.sqrt(parameter.shape[-1])
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "mlx"})
    (directory / "config.json").write_text(json.dumps(config))
    write_tokenizer(directory)


def greedy(model, tokens: list[int], count: int) -> list[int]:
    """The likeliest tokens, each from a pass over all that is there: without a cache."""
    tokens = list(tokens)
    for _ in range(count):
        tokens.append(mx.argmax(model(mx.array([tokens]))[0, -1]).item())
    return tokens[-count:]


def check(directory: str) -> dict:
    """What the model of a checkpoint computes."""
    model, tokenizer = load(directory)
    random = np.random.default_rng(1)
    tokens = random.integers(0, 256, (2, 24))
    batch = mx.array(tokens)
    logits = model(batch)
    found = {"logits": logits[:, -3:, :6].astype(mx.float32).tolist()}

    cache = make_prompt_cache(model)
    parts = [model(batch[:, :10], cache=cache)]
    parts += [model(batch[:, i : i + 1], cache=cache) for i in range(10, 24)]
    cached = mx.concatenate(parts, axis=1)
    found["cached_difference"] = mx.max(mx.abs(cached - logits)).item()

    prompt = tokens[0].tolist()
    steps = generate_step(mx.array(prompt), model, max_tokens=8)
    found["greedy"] = [int(token) for token, _ in steps]
    found["greedy_without_cache"] = greedy(model, prompt, 8)

    sampler = make_sampler(temp=0.8, top_p=0.9, min_p=0.02, top_k=50)
    processors = make_logits_processors(repetition_penalty=1.1)
    mx.random.seed(3)
    found["text"] = generate(
        model,
        tokenizer,
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello"}], add_generation_prompt=True
        ),
        max_tokens=12,
        sampler=sampler,
        logits_processors=processors,
    )

    ppl, _ = eval_ppl(model, batch)
    found["perplexity"] = ppl
    values = np.array(logits[:, :-1].astype(mx.float32), np.float64)
    normalized = values - np.log(np.exp(values).sum(-1, keepdims=True))
    likelihoods = np.take_along_axis(normalized, tokens[:, 1:, None], axis=-1)
    found["perplexity_by_numpy"] = float(np.exp(-likelihoods.mean()))

    config = json.loads((Path(directory) / "config.json").read_text())
    model, config = quantize_model(model, config, group_size=32, bits=8)
    found["quantized_layers"] = sum(name.endswith("scales") for name, _ in weights_of(model))
    found["quantized_perplexity"], _ = eval_ppl(model, batch)
    return found


def weights_of(model) -> list:
    return tree_flatten(model.parameters())


def main() -> None:
    if sys.argv[1] == "write":
        write_checkpoint(sys.argv[2], Path(sys.argv[3]))
    else:
        print(json.dumps(check(sys.argv[2])))


if __name__ == "__main__":
    main()
