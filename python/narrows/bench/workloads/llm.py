"""Inference of a language model in 4 bits: a prompt, then token after token."""

from collections.abc import Iterator

from . import llama
from .base import Library, Options, Run, Workload


class LanguageModel(Workload):
    name = "llm"
    summary = "Llama 3.2 1B's shape in 4 bits (group 64): decoding after a prompt"
    unit = "tokens/s"
    shown_phase = "decode"
    published = {
        "1": (357.2, 724),
        "10": (374.0, 724),
        "unlimited": (375.0, 724),
    }

    def __init__(self, library: Library, options: Options) -> None:
        mx = library.mx
        self.mx = mx
        self.prompt_length, self.new = (512, 128) if options.is_full else (64, 16)
        mx.random.seed(0)
        if options.model:
            self.model, self.config = llama.load(library, options.model)
        else:
            self.config = llama.Config()
            self.model = llama.make_model(library, self.config)
            self.model.set_dtype(mx.float16 if library.device == "gpu" else mx.float32)
            library.nn.quantize(self.model, group_size=64, bits=4)
        mx.eval(self.model.parameters())
        self.prompt = mx.random.randint(0, self.config.vocab_size, (1, self.prompt_length))
        mx.eval(self.prompt)
        # What randomness has used up is the function's, too.
        state = [mx.random.state]
        self.step = mx.compile(self.compute_next, inputs=state, outputs=state)

    def make_caches(self, capacity: int) -> list:
        return [llama.Cache(capacity) for _ in range(self.config.num_hidden_layers)]

    def next_token(self, tokens, caches: list, temperature: float = 0.0):
        """The token after these, (1, 1), not evaluated yet."""
        logits = self.model(tokens, caches)[:, -1]
        if temperature > 0:
            return self.mx.random.categorical(logits / temperature)[:, None]
        return self.mx.argmax(logits, axis=-1, keepdims=True)

    def compute_next(self, temperature: float, token, length, *arrays):
        """The next token and what the one after it needs. It is compiled: all tokens have one
        graph, because their place is an array."""
        capacity = arrays[0].shape[2]
        caches = [llama.Cache(capacity, length, *pair) for pair in zip(arrays[::2], arrays[1::2])]
        token = self.next_token(token, caches, temperature)
        return token, length + 1, *(a for cache in caches for a in (cache.keys, cache.values))

    def round(self, run: Run) -> None:
        caches = self.make_caches(self.prompt_length + self.new + 1)
        with run.phase("prefill", self.prompt_length):
            token = self.next_token(self.prompt, caches)
            run.evaluate(token)
        with run.phase("decode", self.new):
            decoding = Decoding(self, caches)
            token = decoding.after(token)
            run.start(token)
            for i in range(self.new):
                # The next token is recorded and planned while this one is computed.
                following = decoding.after(token) if i + 1 < self.new else None
                if following is not None:
                    run.start(following)
                token.item()
                token = following

    def generate(self, prompt: list[int], count: int, temperature: float) -> Iterator[int]:
        """Tokens after a prompt, as they are computed, until the model ends the text."""
        caches = self.make_caches(len(prompt) + count)
        ends = self.config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        token = self.next_token(self.mx.array([prompt]), caches, temperature)
        decoding = Decoding(self, caches, temperature)
        self.mx.async_eval(token)
        for i in range(count):
            following = None
            if i + 1 < count:
                following = decoding.after(token)
                self.mx.async_eval(following)
            value = token.item()
            if value in ends:
                return
            yield value
            token = following


class Decoding:
    """Token after token, behind a prompt that the caches have."""

    def __init__(self, model: LanguageModel, caches: list, temperature: float = 0.0) -> None:
        self.model = model
        self.temperature = temperature
        self.room = caches[0].capacity - caches[0].length
        self.arrays = [
            model.mx.array(caches[0].length),
            *(a for cache in caches for a in (cache.keys, cache.values)),
        ]

    def after(self, token):
        """The token after this one, (1, 1), not evaluated yet."""
        if self.room == 0:
            raise ValueError("[llm] the caches are full")
        self.room -= 1
        token, *self.arrays = self.model.step(self.temperature, token, *self.arrays)
        return token
