"""The five workloads. They are written against MLX's interface and are given the library to use, so
that MLX itself can run them beside narrows. Nothing here may import either."""

from .cast import Cast
from .llm import LanguageModel
from .quantize import Quantize
from .resnet import ResNet
from .transformer import Transformer

WORKLOADS = {w.name: w for w in (Cast, LanguageModel, Transformer, ResNet, Quantize)}
