"""Parameters have the names, kinds and defaults of MLX's; data/signatures.txt lists those."""

import pathlib
import re

import narrows.core as mx
import public
import pytest
from public import parameters, signatures

REFERENCE = {}
for line in (pathlib.Path(__file__).parent / "data/signatures.txt").read_text().splitlines():
    if not line.startswith("#"):
        REFERENCE.setdefault(line.partition("(")[0], []).append(line)

# Differences that are meant. set_memory_limit(), eval(), async_eval(), compile() and
# distributed.init() have one parameter more. MLX's text for arange() gives `step` no default, but
# its arange() can be called without it, and so can its save_gguf() without `metadata`.
EXTENDED = {
    "arange": [
        "arange(start, stop, step=None, dtype=None, *, stream=None)",
        REFERENCE["arange"][1],
    ],
    "async_eval": ["async_eval(*args, budget=None, offload=False)"],
    "compile": [
        "compile(fun, inputs=None, outputs=None, shapeless=False, *, budget=None, offload=False)"
    ],
    "eval": ["eval(*args, budget=None, offload=False)"],
    "distributed.init": [
        "distributed.init(strict=False, backend='any', *, all_gather_factory=None, timeout=None)"
    ],
    "save_gguf": ["save_gguf(file, arrays, metadata=None)"],
    "set_memory_limit": ["set_memory_limit(limit, *, strict=False)"],
    "metal.set_memory_limit": ["metal.set_memory_limit(limit, *, strict=False)"],
}

PACKAGES = dict([*public.package_members(), *public.package_methods(), *public.package_calls()])
EVERYTHING = dict([*public.functions(), *public.methods()]) | PACKAGES


def shown(name, signature):
    listed = [f"{n}={default}" if default else n for n, default in parameters(signature)]
    return f"{name}({', '.join(listed)})"


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_parameters_are_those_of_mlx(name):
    expected = EXTENDED.get(name, REFERENCE[name])
    if "(" not in expected[0]:  # another name of a function, or a property
        assert isinstance(EVERYTHING[name], property) or callable(EVERYTHING[name])
        return
    assert [shown(name, s) for s in signatures(EVERYTHING[name])] == expected


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_parameters_have_names_of_their_own(name):
    if isinstance(EVERYTHING[name], property):
        return
    for signature in signatures(EVERYTHING[name]):
        names = [n.lstrip("*") for n, _ in parameters(signature) if n not in "/*"]
        assert len(set(names)) == len(names)
        assert name in REFERENCE or not any(re.fullmatch(r"arg\d*", n) for n in names)


def test_layers_and_losses_have_no_names_of_their_own():
    names = [name for name, _ in public.package_members() if name.startswith("nn.")]
    assert len(names) > 120 and set(names) - set(REFERENCE) == set()


# A value for each name of a parameter that has no default.
ARRAY = mx.ones((2, 2))
VALUES = {
    **dict.fromkeys(["a", "b", "c", "x", "y", "condition", "array", "logits", "inputs"], ARRAY),
    **dict.fromkeys(["low", "lower", "vals", "dependencies"], ARRAY),
    **dict.fromkeys(["n", "stop", "axis", "axis1", "shift", "repeats", "reps", "pad_width"], 1),
    **dict.fromkeys(["source", "destination", "seed", "high", "upper"], 0),
    **dict.fromkeys(["primals", "cotangents", "tangents", "arrays"], [ARRAY]),
    **dict.fromkeys(["start", "axis2", "a_min", "bytes"], 0),
    "a_max": 1,
    "fun": lambda *arrays: arrays,
    "shape": (2, 2),
    "dtype": mx.float32,
    **dict.fromkeys(["from_", "to", "arg1"], mx.float32),
    "kind": "bool",
    "arg2": mx.floating,
    "key": mx.random.key(0),
    "indices_or_sections": 2,
    **dict.fromkeys(["device", "device_type", "s"], mx.cpu),
}
# What would change settings or touch files.
NOT_CALLED = {"set_default_stream", "set_cache_limit", "set_memory_limit", "set_wired_limit"}


def calls():
    for name, function in public.functions():
        for signature in function.__nb_signature__:
            required = [n for n, default in parameters(signature) if not default and n not in "/*"]
            if required and set(required) <= set(VALUES) and name not in NOT_CALLED:
                yield pytest.param(function, required, id=name)


@pytest.mark.parametrize("function, required", list(calls()))
def test_parameters_are_accepted_by_keyword(function, required):
    try:
        function(**{name: VALUES[name] for name in required})
    except TypeError as error:
        assert "incompatible function arguments" not in str(error)
    except (ValueError, IndexError):
        pass  # the values are not meant for this function


def test_most_functions_were_called_by_keyword():
    assert len(list(calls())) > 180


def test_help_shows_the_signature(capsys):
    help(mx.matmul)
    assert "matmul(a: array, b: array, /, *, stream: Stream" in capsys.readouterr().out
