"""Weights of the shapes of a Llama, made or loaded lazily, quantized in one evaluation."""

from pathlib import Path

from .base import Library, Options, Run, Workload


def weight_shapes(layers: int, dims: int, hidden: int, kv_dims: int, vocabulary: int) -> list:
    """The matrices of a Llama whose embedding and output are apart."""
    layer = [(dims, dims), (kv_dims, dims), (kv_dims, dims), (dims, dims)]
    layer += [(hidden, dims), (hidden, dims), (dims, hidden)]
    return [(vocabulary, dims), *layer * layers, (vocabulary, dims)]


SMALL = weight_shapes(8, 1024, 3584, 256, 16032)
FULL = weight_shapes(32, 4096, 14336, 1024, 128256)  # Llama 3 8B


class Quantize(Workload):
    name = "quantize"
    summary = "Llama-shaped float16 weights → 4 bits (group 64), in one evaluation"
    unit = "s"
    shown_phase = "quantize"
    shows_seconds = True
    published = {
        "1": (2.92, 9370),
        "10": (2.83, 9590),
        "20": (2.89, 10200),
        "50": (2.90, 10220),
        "unlimited": (3.14, 18170),
    }

    def __init__(self, library: Library, options: Options) -> None:
        self.mx = library.mx
        self.shapes = FULL if options.is_full else SMALL
        self.files = sorted(Path(options.model).glob("*.safetensors")) if options.model else []
        if options.model and not self.files:
            raise FileNotFoundError(
                f"[quantize] no *.safetensors in {options.model}, expected a checkpoint directory"
            )

    def weights(self) -> list:
        mx = self.mx
        if not self.files:
            mx.random.seed(0)
            return [mx.random.normal(shape).astype(mx.float16) for shape in self.shapes]
        loaded = [weight for file in self.files for weight in mx.load(str(file)).values()]
        return [weight for weight in loaded if weight.ndim == 2 and weight.shape[-1] % 64 == 0]

    def round(self, run: Run) -> None:
        mx = self.mx
        with run.phase("quantize", 1):
            weights = self.weights()
            quantized = [mx.quantize(weight, group_size=64, bits=4) for weight in weights]
            del weights
            run.evaluate(quantized)
