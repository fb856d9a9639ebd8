"""Records what PyTorch's layers and losses give, for tests/python/nn/test_torch.py.

`python tools/record_torch.py` writes tests/python/data/torch_nn.npz: parameters, inputs, outputs,
and gradients of ``sum(sin(output))``, in the layouts and under the names of narrows.nn. Wants torch
and numpy; the tests want neither PyTorch nor this script.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

FILE = pathlib.Path(__file__).parents[1] / "tests/python/data/torch_nn.npz"
RECORDED: dict[str, np.ndarray] = {}
RANDOM = np.random.default_rng(7)


def random(*shape: int) -> torch.Tensor:
    return torch.tensor(RANDOM.normal(size=shape), dtype=torch.float32, requires_grad=True)


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels go from the second place to the last one."""
    return x.movedim(1, -1)


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def record(name, function, inputs, parameters=None, to_ours=same, constants=(), state=None):
    """`parameters` has our names, and tensors or pairs of a tensor and what makes it ours.
    `state` is recorded as it is after the call."""
    pairs = {
        key: value if isinstance(value, tuple) else (value, same)
        for key, value in (parameters or {}).items()
    }
    for tensor, _ in pairs.values():
        tensor.grad = None
    outputs = function(*inputs, *constants)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for i, tensor in enumerate(tensors):
            RECORDED[f"{name}/{kind}/{i}"] = to_ours(tensor.detach()).numpy().copy()
    for i, constant in enumerate(constants, len(inputs)):
        RECORDED[f"{name}/input/{i}"] = constant.numpy()
    sum(torch.sin(y).sum() for y in outputs).backward()
    for i, x in enumerate(inputs):
        RECORDED[f"{name}/input_gradient/{i}"] = to_ours(x.grad).numpy().copy()
    for key, (tensor, convert) in pairs.items():
        RECORDED[f"{name}/parameter/{key}"] = convert(tensor.detach()).numpy().copy()
        if tensor.grad is not None:
            RECORDED[f"{name}/gradient/{key}"] = convert(tensor.grad).numpy().copy()
    for key, tensor in (state or {}).items():
        RECORDED[f"{name}/state/{key}"] = tensor.detach().numpy().copy()


def with_random_parameters(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * random(*parameter.shape))
    return module


def own(module: nn.Module, convert=same) -> dict:
    """The parameters of a module by their own names; `convert` goes for all but vectors."""
    return {
        name: (p, convert) if p.ndim > 1 else p
        for name, p in module.named_parameters()
        if "." not in name
    }


def linear_layers() -> None:
    for name, module in (
        ("linear", nn.Linear(3, 4)),
        ("linear_plain", nn.Linear(3, 4, bias=False)),
    ):
        record(name, with_random_parameters(module), [random(2, 5, 3)], own(module))
    module = with_random_parameters(nn.Bilinear(2, 3, 4))
    parameters = {"weight": (module.weight, lambda w: w.transpose(1, 2)), "bias": module.bias}
    record("bilinear", module, [random(5, 2), random(5, 3)], parameters)
    table = with_random_parameters(nn.Embedding(5, 3))
    record("embedding", table, [], own(table), constants=[torch.tensor([[1, 4, 1], [0, 2, 2]])])


def norms() -> None:
    cases = {
        "layer_norm": (nn.LayerNorm(4), (2, 3, 4), same),
        "rms_norm": (nn.RMSNorm(4, eps=1e-5), (2, 3, 4), same),
        "group_norm": (nn.GroupNorm(2, 6), (2, 6, 3, 2), last),
        "instance_norm": (nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 2), last),
        "batch_norm": (nn.BatchNorm1d(3, momentum=0.3), (5, 3), same),
        "batch_norm_images": (nn.BatchNorm2d(3), (2, 3, 4, 2), last),
        "batch_norm_eval": (nn.BatchNorm1d(3).eval(), (5, 3), same),
    }
    for name, (module, shape, to_ours) in cases.items():
        with_random_parameters(module)
        parameters = own(module)
        if name == "batch_norm_eval":
            module.running_mean.copy_(random(3).detach())
            module.running_var.copy_(torch.rand(3) + 0.5)
        state = dict(module.named_buffers())
        state.pop("num_batches_tracked", None)
        record(name, module, [random(*shape)], parameters, to_ours, state=state)


def convolutions() -> None:
    cases = {
        "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9)),
        "conv1d_dilated": (nn.Conv1d(2, 3, 3, dilation=2, bias=False), (2, 2, 8)),
        "conv2d": (nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 0)), (2, 2, 5, 6)),
        "conv2d_groups": (nn.Conv2d(4, 4, 3, groups=4, padding=1), (1, 4, 4, 5)),
        "conv3d": (nn.Conv3d(2, 3, 2, stride=2, padding=1), (1, 2, 3, 4, 2)),
    }
    for name, (module, shape) in cases.items():
        record(name, with_random_parameters(module), [random(*shape)], own(module, last), last)
    cases = {
        "conv_transpose1d": (nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1), (2, 2, 5)),
        "conv_transpose2d": (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), (1, 2, 3, 4)),
        "conv_transpose3d": (nn.ConvTranspose3d(2, 3, 2, dilation=2, bias=False), (1, 2, 2, 3, 2)),
    }
    for name, (module, shape) in cases.items():
        parameters = own(module, lambda w: w.movedim(0, -1))
        record(name, with_random_parameters(module), [random(*shape)], parameters, last)


def pooling() -> None:
    shapes = {1: (2, 3, 8), 2: (2, 2, 6, 7), 3: (1, 2, 4, 4, 5)}
    settings = {"": (2, None, 0), "_overlapping": (3, 2, 1), "_stride_1": (2, 1, 0)}
    for kind in ("Max", "Avg"):
        for dimensions, shape in shapes.items():
            for suffix, (size, stride, padding) in settings.items():
                module = getattr(nn, f"{kind}Pool{dimensions}d")(size, stride, padding)
                name = f"{kind.lower()}_pool{dimensions}d{suffix}"
                record(name, module, [random(*shape)], to_ours=last)


def upsampling() -> None:
    shapes = {1: (2, 2, 5), 2: (1, 2, 4, 3)}
    modes = {1: ("nearest", "linear"), 2: ("nearest", "bilinear", "bicubic")}
    for dimensions, shape in shapes.items():
        for mode in modes[dimensions]:
            for corners in (False, True) if mode != "nearest" else (None,):
                module = nn.Upsample(scale_factor=2.0, mode=mode, align_corners=corners)
                suffix = "_corners" if corners else ""
                name = f"upsample{dimensions}d_{mode.removeprefix('bi')}{suffix}"
                record(name, module, [random(*shape)], to_ours=last)
    for mode in ("bilinear", "bicubic"):
        record(
            f"upsample2d_{mode.removeprefix('bi')}_antialias",
            lambda x, mode=mode: F.interpolate(x, scale_factor=0.5, mode=mode, antialias=True),
            [random(1, 2, 8, 6)],
            to_ours=last,
        )


def recurrent_layers() -> None:
    for name, kind in (("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)):
        module = with_random_parameters(kind(3, 4, batch_first=True))
        weights = (module.weight_ih_l0, module.weight_hh_l0)
        with torch.no_grad():  # one bias is enough, but for the last gate of GRU
            module.bias_hh_l0[: 8 if name == "gru" else None] = 0
        names = ("Wxh", "Whh", "bias") if name == "rnn" else ("Wx", "Wh", "bias")
        parameters = dict(zip(names, (*weights, module.bias_ih_l0)))
        if name == "gru":
            parameters["b"] = parameters.pop("bias")
            parameters["bhn"] = (module.bias_hh_l0, lambda b: b[8:])
        record(name, lambda x, module=module: module(x)[0], [random(2, 5, 3)], parameters)


def attention_parameters(module: nn.MultiheadAttention, prefix: str = "", bias=True) -> dict:
    found = {}
    for i, name in enumerate(("query_proj", "key_proj", "value_proj")):
        part = lambda w, i=i: w.chunk(3)[i]  # noqa: E731
        found[f"{prefix}{name}.weight"] = (module.in_proj_weight, part)
        if bias:
            found[f"{prefix}{name}.bias"] = (module.in_proj_bias, part)
    found[f"{prefix}out_proj.weight"] = module.out_proj.weight
    if bias:
        found[f"{prefix}out_proj.bias"] = module.out_proj.bias
    else:
        with torch.no_grad():
            module.in_proj_bias.zero_()
            module.out_proj.bias.zero_()
    return found


def attention() -> None:
    module = with_random_parameters(nn.MultiheadAttention(8, 2, batch_first=True))
    inputs = [random(2, 3, 8), random(2, 5, 8), random(2, 5, 8)]
    parameters = attention_parameters(module)
    record("attention", lambda q, k, v: module(q, k, v)[0], inputs, parameters)
    mask = torch.triu(torch.full((3, 3), -1e9), 1)
    record(
        "attention_causal",
        lambda x, mask: module(x, x, x, attn_mask=mask)[0],
        [random(2, 3, 8)],
        attention_parameters(module),
        constants=[mask],
    )


def transformer_layers() -> None:
    renamed = {"linear1": "linear1", "linear2": "linear2", "norm": "ln"}
    attentions = {
        nn.TransformerEncoderLayer: {"self_attn": "attention"},
        nn.TransformerDecoderLayer: {
            "self_attn": "self_attention",
            "multihead_attn": "cross_attention",
        },
    }
    for kind, names in attentions.items():
        for norm_first in (False, True):
            module = kind(8, 2, 6, dropout=0.0, batch_first=True, norm_first=norm_first)
            with_random_parameters(module)
            parameters = {}
            for theirs, ours in names.items():
                parameters |= attention_parameters(getattr(module, theirs), f"{ours}.", False)
            for name, parameter in module.named_parameters():
                if name.startswith(tuple(renamed)):
                    parameters[name.replace("norm", "ln")] = parameter
            inputs = [random(2, 3, 8)] + [random(2, 4, 8)] * (len(names) - 1)
            name = "encoder_layer" if len(names) == 1 else "decoder_layer"
            record(name + ("_norm_first" if norm_first else ""), module, inputs, parameters)


def activations() -> None:
    cases = {
        "celu": lambda x: F.celu(x, 1.5),
        "elu": lambda x: F.elu(x, 1.5),
        "gelu": F.gelu,
        "gelu_approx": lambda x: F.gelu(x, approximate="tanh"),
        "glu": F.glu,
        "hard_shrink": F.hardshrink,
        "hard_tanh": F.hardtanh,
        "hardswish": F.hardswish,
        "leaky_relu": F.leaky_relu,
        "log_sigmoid": F.logsigmoid,
        "log_softmax": lambda x: F.log_softmax(x, -1),
        "mish": F.mish,
        "relu": F.relu,
        "relu6": F.relu6,
        "selu": F.selu,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "softmax": lambda x: F.softmax(x, -1),
        "softmin": lambda x: F.softmin(x, -1),
        "softplus": F.softplus,
        "softshrink": F.softshrink,
        "softsign": F.softsign,
        "tanh": torch.tanh,
    }
    for name, function in cases.items():
        x = (3 * random(4, 6)).detach()
        record(f"function_{name}", function, [x.requires_grad_()])
    module = with_random_parameters(nn.PReLU(3))
    record("prelu", module, [random(4, 3)], {"weight": module.weight})


def losses() -> None:
    def pair():
        return [random(4, 5), random(4, 5)]

    probabilities = torch.softmax(random(4, 5), -1).detach()
    classes = torch.tensor([0, 4, 2, 2])
    signs = torch.sign(random(4, 5)).detach()
    variances = torch.rand(4, 5) + 0.1
    options = {"reduction": "none"}
    for reduction in ("none", "mean", "sum"):
        record(
            f"mse_loss_{reduction}", lambda a, b, r=reduction: F.mse_loss(a, b, reduction=r), pair()
        )
    both = {
        "l1_loss": lambda a, b: F.l1_loss(a, b, **options),
        "smooth_l1_loss": lambda a, b: F.smooth_l1_loss(a, b, beta=0.7, **options),
        "huber_loss": lambda a, b: F.huber_loss(a, b, delta=0.7, **options),
        "cosine_similarity_loss": lambda a, b: F.cosine_similarity(a, b, dim=1),
        "kl_div_loss": lambda a, b: F.kl_div(a, b, log_target=True, **options).sum(-1),
    }
    for name, function in both.items():
        record(name, function, pair())
    one = {
        "cross_entropy": (lambda x, t: F.cross_entropy(x, t, **options), classes),
        "cross_entropy_smooth": (
            lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, **options),
            classes,
        ),
        "cross_entropy_probabilities": (
            lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, **options),
            probabilities,
        ),
        "nll_loss": (lambda x, t: F.nll_loss(x, t, **options), classes),
        "binary_cross_entropy": (
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, **options),
            probabilities,
        ),
        "hinge_loss": (lambda x, t: torch.clamp(1 - x * t, min=0), signs),
        "log_cosh_loss": (lambda x, t: torch.log(torch.cosh(x - t)), signs),
    }
    for name, (function, target) in one.items():
        record(name, function, [random(4, 5)], constants=[target])
    record(
        "binary_cross_entropy_probabilities",
        lambda x, t: F.binary_cross_entropy(x, t, **options),
        [torch.sigmoid(random(4, 5)).detach().requires_grad_()],
        constants=[probabilities],
    )
    record(
        "gaussian_nll_loss",
        lambda x, t, v: F.gaussian_nll_loss(x, t, v, full=True, **options),
        pair(),
        constants=[variances],
    )
    record(
        "margin_ranking_loss",
        lambda a, b, t: F.margin_ranking_loss(a, b, t, margin=0.2, **options),
        pair(),
        constants=[signs],
    )
    record(
        "triplet_loss",
        lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=0.7, eps=0.0, **options),
        [*pair(), random(4, 5)],
    )


def main() -> None:
    torch.manual_seed(3)
    for part in (
        linear_layers,
        norms,
        convolutions,
        pooling,
        upsampling,
        recurrent_layers,
        attention,
        transformer_layers,
        activations,
        losses,
    ):
        part()
    np.savez_compressed(FILE, **RECORDED)
    print(f"{FILE}: {FILE.stat().st_size} bytes, {len({k.split('/')[0] for k in RECORDED})} cases")


if __name__ == "__main__":
    main()
