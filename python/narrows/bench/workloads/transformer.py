"""Training of a transformer language model with AdamW."""

from dataclasses import dataclass

from .base import Library, Options, Run, Workload


@dataclass(frozen=True)
class Sizes:
    vocabulary: int
    batch: int
    length: int
    layers: int
    dims: int
    heads: int
    steps: int  # in a round


SMALL = Sizes(2000, 2, 128, 4, 256, 4, steps=10)
FULL = Sizes(10000, 2, 1024, 12, 1024, 16, steps=10)


def make_model(library: Library, sizes: Sizes):
    mx, nn = library.mx, library.nn

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(sizes.vocabulary, sizes.dims)
            self.position = nn.SinusoidalPositionalEncoding(sizes.dims)
            self.encoder = nn.TransformerEncoder(
                sizes.layers, sizes.dims, sizes.heads, norm_first=True
            )
            self.output = nn.Linear(sizes.dims, sizes.vocabulary)

        def __call__(self, tokens):
            length = tokens.shape[1]
            mask = nn.MultiHeadAttention.create_additive_causal_mask(length)
            x = self.embedding(tokens) + self.position(mx.arange(length))
            return self.output(self.encoder(x, mask))

    return LanguageModel()


def share_products(model, size: int):
    """Gives each of several processes some of the heads and some of the neurons of the encoder.

    All processes have the same model before.
    """
    from narrows.nn.layers.distributed import shard_linear

    for layer in model.encoder.layers:
        attention = layer.attention
        attention.num_heads //= size
        for name in ("query_proj", "key_proj", "value_proj"):
            attention[name] = shard_linear(attention[name], "all-to-sharded")
        attention.out_proj = shard_linear(attention.out_proj, "sharded-to-all")
        layer.linear1 = shard_linear(layer.linear1, "all-to-sharded")
        layer.linear2 = shard_linear(layer.linear2, "sharded-to-all")
    return model


class Transformer(Workload):
    name = "transformer"
    summary = "training a transformer language model with AdamW, float32"
    unit = "it/s"
    shown_phase = "train"
    published = {
        "1": (3.32, 5204),
        "10": (3.47, 5222),
        "50": (3.48, 5480),
        "unlimited": (3.48, 5480),
    }

    def __init__(self, library: Library, options: Options) -> None:
        mx, nn = library.mx, library.nn
        self.mx = mx
        self.sizes = FULL if options.is_full else SMALL
        mx.random.seed(0)
        self.model = make_model(library, self.sizes)
        mx.eval(self.model.parameters())
        self.optimizer = library.optimizers.AdamW(1e-3)

        def loss(model, tokens, targets):
            return nn.losses.cross_entropy(model(tokens), targets, reduction="mean")

        self.loss_and_gradients = nn.value_and_grad(self.model, loss)
        self.batch = self.make_batch()
        for _ in range(2):
            self.step(Run(mx))

    def make_batch(self):
        """Tokens that mostly follow each other in a fixed order, which a model can learn."""
        mx, sizes = self.mx, self.sizes
        shape = (sizes.batch, sizes.length + 1)
        first = mx.random.randint(0, sizes.vocabulary, (sizes.batch, 1))
        walk = (first + 7 * mx.arange(sizes.length + 1)) % sizes.vocabulary
        noise = mx.random.randint(0, sizes.vocabulary, shape)
        tokens = mx.where(mx.random.uniform(shape=shape) < 0.1, noise, walk)
        batch = tokens[:, :-1] + 0, tokens[:, 1:] + 0  # no views of one array
        mx.eval(batch)
        return batch

    def step(self, run: Run):
        loss, gradients = self.loss_and_gradients(self.model, *self.batch)
        self.optimizer.update(self.model, gradients)
        run.evaluate(loss, self.model.parameters(), self.optimizer.state)
        return loss

    def round(self, run: Run) -> None:
        with run.phase("train", self.sizes.steps):
            for _ in range(self.sizes.steps):
                self.step(run)
