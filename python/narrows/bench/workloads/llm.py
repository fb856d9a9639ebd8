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

    def make_caches(self, capacity: int) -> list:
        return [llama.Cache(capacity) for _ in range(self.config.num_hidden_layers)]

    def next_token(self, tokens, caches: list, temperature: float = 0.0):
        """The token after these, (1, 1), not evaluated yet."""
        logits = self.model(tokens, caches)[:, -1]
        if temperature > 0:
            return self.mx.random.categorical(logits / temperature)[:, None]
        return self.mx.argmax(logits, axis=-1, keepdims=True)

    def round(self, run: Run) -> None:
        caches = self.make_caches(self.prompt_length + self.new + 1)
        with run.phase("prefill", self.prompt_length):
            token = self.next_token(self.prompt, caches)
            run.evaluate(token)
        with run.phase("decode", self.new):
            token = self.next_token(token, caches)
            for i in range(self.new):
                run.start(token)
                # The next token is recorded while this one is computed. It is planned afterwards:
                # caches that are being computed could not be written in place.
                following = self.next_token(token, caches) if i + 1 < self.new else None
                token.item()
                token = following

    def generate(self, prompt: list[int], count: int, temperature: float) -> Iterator[int]:
        """Tokens after a prompt, as they are computed, until the model ends the text."""
        caches = self.make_caches(len(prompt) + count)
        ends = self.config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        token = self.next_token(self.mx.array([prompt]), caches, temperature)
        for i in range(count):
            self.mx.async_eval(token)
            last = i + 1 == count
            following = None if last else self.next_token(token, caches, temperature)
            value = token.item()
            if value in ends:
                return
            yield value
            token = following
