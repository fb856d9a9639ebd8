"""A Llama with the names of its published checkpoints, which it loads, and its cache."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

from .base import Library


@dataclass
class Config:
    """What config.json of a checkpoint says. Without one: Llama 3.2 1B."""

    num_hidden_layers: int = 16
    hidden_size: int = 2048
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    intermediate_size: int = 8192
    vocab_size: int = 128256
    rms_norm_eps: float = 1e-5
    rope_theta: float = 500000.0
    tie_word_embeddings: bool = True
    head_dim: int | None = None
    rope_scaling: dict | None = None
    quantization: dict | None = None
    eos_token_id: int | list | None = None

    @staticmethod
    def read(directory: str) -> "Config":
        path = Path(directory) / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"[llm] no {path}, expected a checkpoint directory")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"[llm] {path} is no JSON: {error}") from None
        kind = found.get("model_type", "llama")
        if kind != "llama":
            raise ValueError(f"[llm] {path} has model_type {kind!r}, expected 'llama'")
        known = {field.name for field in fields(Config)}
        return Config(**{name: value for name, value in found.items() if name in known})

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads


def rope_frequencies(mx, config: Config):
    """The wave lengths of Llama 3's rope, which are stretched where they are long; None if its
    configuration asks for none."""
    scaling = config.rope_scaling or {}
    if scaling.get("rope_type", scaling.get("type")) != "llama3":
        return None
    factor, low, high = (
        scaling[name] for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    length = scaling["original_max_position_embeddings"]
    found = []
    for i in range(0, config.head_size, 2):
        wave = config.rope_theta ** (i / config.head_size)
        turns = length / (2 * math.pi * wave)  # within the context of the training
        if turns < low:
            wave *= factor
        elif turns < high:
            smooth = (turns - low) / (high - low)
            wave /= (1 - smooth) / factor + smooth
        found.append(wave)
    return mx.array(found)


class Cache:
    """Keys and values of one layer, written in place.

    Args:
      capacity: The most tokens that there may be.
      length: How many tokens there are: an integer, or an array of none or one dimension. If it is
        an array, the graph of a token does not depend on its place, and attention reads all of the
        cache through a mask. Then the caller sees to it that no more tokens come than fit.
      keys, values: Of shape (batch, heads, capacity, size), or ``None`` where there are none yet.
    """

    def __init__(self, capacity: int, length=0, keys=None, values=None) -> None:
        self.capacity = capacity
        self.length = length
        self.keys, self.values = keys, values

    @property
    def is_counted_in_graph(self) -> bool:
        return not isinstance(self.length, int)

    def extend(self, mx, keys, values):
        """Appends those of new tokens and gives those that attention reads."""
        if self.is_counted_in_graph:
            self.keys = mx.slice_update(self.keys, keys, self.length, (2,))
            self.values = mx.slice_update(self.values, values, self.length, (2,))
            return self.keys, self.values
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"[llm] {end} tokens in a cache of {self.capacity}")
        if self.keys is None:
            shape = (*keys.shape[:2], self.capacity, keys.shape[3])
            self.keys, self.values = mx.zeros(shape, keys.dtype), mx.zeros(shape, values.dtype)
        self.keys[..., self.length : end, :] = keys
        self.values[..., self.length : end, :] = values
        self.length = end
        return self.keys[..., :end, :], self.values[..., :end, :]


def make_model(library: Library, config: Config):
    """The model, with random weights: tokens (batch, length) and caches to logits of the last."""
    mx, nn = library.mx, library.nn
    dims, heads, kv_heads = (
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    size = config.head_size
    frequencies = rope_frequencies(mx, config)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj = nn.Linear(dims, heads * size, bias=False)
            self.k_proj = nn.Linear(dims, kv_heads * size, bias=False)
            self.v_proj = nn.Linear(dims, kv_heads * size, bias=False)
            self.o_proj = nn.Linear(heads * size, dims, bias=False)

        def __call__(self, x, cache, mask):
            batch, length, _ = x.shape

            def split(y, count):
                return y.reshape(batch, length, count, size).transpose(0, 2, 1, 3)

            def rotated(y):
                return mx.fast.rope(
                    y,
                    size,
                    traditional=False,
                    base=None if frequencies is not None else config.rope_theta,
                    scale=1.0,
                    offset=cache.length,
                    freqs=frequencies,
                )

            queries = rotated(split(self.q_proj(x), heads))
            keys = rotated(split(self.k_proj(x), kv_heads))
            keys, values = cache.extend(mx, keys, split(self.v_proj(x), kv_heads))
            y = mx.fast.scaled_dot_product_attention(
                queries, keys, values, scale=size**-0.5, mask=mask
            )
            return self.o_proj(y.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    class FeedForward(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj = nn.Linear(dims, config.intermediate_size, bias=False)
            self.up_proj = nn.Linear(dims, config.intermediate_size, bias=False)
            self.down_proj = nn.Linear(config.intermediate_size, dims, bias=False)

        def __call__(self, x):
            return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.self_attn = Attention()
            self.mlp = FeedForward()
            self.input_layernorm = nn.RMSNorm(dims, eps=config.rms_norm_eps)
            self.post_attention_layernorm = nn.RMSNorm(dims, eps=config.rms_norm_eps)

        def __call__(self, x, cache, mask):
            x = x + self.self_attn(self.input_layernorm(x), cache, mask)
            return x + self.mlp(self.post_attention_layernorm(x))

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens = nn.Embedding(config.vocab_size, dims)
            self.layers = [Block() for _ in range(config.num_hidden_layers)]
            self.norm = nn.RMSNorm(dims, eps=config.rms_norm_eps)

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Decoder()
            if not config.tie_word_embeddings:
                self.lm_head = nn.Linear(dims, config.vocab_size, bias=False)

        def __call__(self, tokens, caches):
            # Tokens of any number, or one where the caches are counted in the graph.
            x = self.model.embed_tokens(tokens)
            mask = "causal" if tokens.shape[1] > 1 else None
            if caches[0].is_counted_in_graph:
                mask = mx.arange(caches[0].capacity) <= caches[0].length
            for layer, cache in zip(self.model.layers, caches):
                x = layer(x, cache, mask)
            x = self.model.norm(x[:, -1:])
            if config.tie_word_embeddings:
                return self.model.embed_tokens.as_linear(x)
            return self.lm_head(x)

    return Llama()


def load(library: Library, directory: str, bits: int = 4):
    """The model of a checkpoint directory; what is not quantized there becomes so.

    Args:
      library: Whose modules to use.
      directory: Has config.json and ``*.safetensors``.
      bits: Of weights that are not quantized yet.

    Returns:
      tuple[Module, Config]: The model, not evaluated yet, and its configuration.
    """
    mx, nn = library.mx, library.nn
    config = Config.read(directory)
    files = sorted(Path(directory).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"[llm] no *.safetensors in {directory}")
    weights = {}
    for file in files:
        weights |= mx.load(str(file))
    # Made by some tools, and computed here.
    weights = {k: v for k, v in weights.items() if not k.endswith("rotary_emb.inv_freq")}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    model = make_model(library, config)

    def is_quantized(path, layer):
        return hasattr(layer, "to_quantized") and f"{path}.scales" in weights

    if config.quantization:
        settings = {k: v for k, v in config.quantization.items() if not isinstance(v, dict)}
        nn.quantize(model, **settings, class_predicate=is_quantized)
    model.load_weights(list(weights.items()))
    if not config.quantization:
        nn.quantize(model, group_size=64, bits=bits)
    return model, config
