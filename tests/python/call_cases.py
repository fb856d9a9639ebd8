"""Random calls of everything that is public: a result or an exception of the right kind, no crash.

tools/fuzz_calls.py makes many of them.
"""

import inspect
import math
import operator
import random
import re

import narrows.array_api as xp
import narrows.core as mx
import numpy as np
import public
from support import DTYPES

ERRORS = (ValueError, TypeError, IndexError, OverflowError, MemoryError, RuntimeError, BufferError)
LIMIT = 1 << 28  # bytes that a call may take

# What would change settings, touch files, make threads or print.
NOT_CALLED = re.compile(
    r"set_|reset_|clear_|load$|save|import_|export|new_|enable_|disable_|print|distributed|"
    r"metal\.|random\.seed|get_printoptions|FunctionExporter|Plan|Profile|Stream|ThreadLocal|"
    r"synchronize|stream$|profile$|device_info|.*(__init__|close|write|print|save)$|Device"
)
OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
    *(operator.pow, operator.matmul, operator.and_, operator.or_, operator.xor, operator.lshift),
    *(operator.rshift, operator.eq, operator.lt, operator.ge, operator.getitem),
]
WORDS = {
    "norm": ["backward", "ortho", "forward"],
    "side": ["left", "right"],
    "indexing": ["xy", "ij"],
    "mode": ["affine", "mxfp4", "mxfp8", "nvfp4", "full", "valid", "same", "constant", "edge"]
    + ["reduced", "complete"],
    "pad_mode": ["constant", "reflect", "edge"],
    "UPLO": ["L", "U", "l"],
    "ord": ["fro", "nuc", "f"],
    "subscripts": ["ij,jk->ik", "ii->i", "i,j", "...i->i", "ij->ji", "ijk,ikl->ijl", "a,"],
    "kind": ["bool", "integral", "numeric", "real floating"],
    "source": ["o[0] = 1;"],
    "api_version": ["2024.12", "2031.12"],
}
SHAPES = [(), (0,), (1,), (3,), (4, 4), (2, 3), (2, 3, 3), (3, 0, 2), (1, 4, 1, 2), (2, 16), (64,)]
SHAPES += [(2, 64), (1, 2, 4, 8), (1,) * 9, (5, 1, 5)]
LENGTHS = [0, 1, 2, 5, 64, 1000, -1, 2**31, 2**31 - 1, 2**40, 2**62]  # of transforms
INTEGERS = [0, 1, 1, 2, 2, 3, 4, 8, 32, 64, -1, -2, -3, 2**31, -(2**31), 2**62, -(2**63), 2**70]
FLOATS = [0.0, -0.0, 1.0, 0.5, -2.5, 1e-5, 1e30, 1e308, math.inf, -math.inf, math.nan]
ODD = [None, "x", b"x", object(), (), [], {}, 1.5, True, [[1], 2], slice(None), np.ones(3), 1j]


class Values:
    """Random values of the kinds that signatures speak of."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def array(self):
        rng = self.rng
        shape, dtype = rng.choice(SHAPES), rng.choice(DTYPES)
        if rng.random() < 0.5:
            dtype = mx.float32
        count = math.prod(shape)
        if dtype in (mx.bool_, mx.uint8, mx.uint32):
            numbers = [rng.randint(0, 3) for _ in range(count)]
        elif rng.random() < 0.2:
            numbers = [rng.choice(FLOATS) for _ in range(count)]
        else:
            numbers = [rng.randint(-3, 3) + rng.random() for _ in range(count)]
        a = mx.array(np.array(numbers, dtype=np.float32)).reshape(shape).astype(dtype)
        if len(shape) > 1 and rng.random() < 0.3:
            a = mx.swapaxes(a, 0, -1)
        return a

    def arrays(self):
        first = self.array()
        return [first if self.rng.random() < 0.7 else self.array() for _ in range(3)][
            : self.rng.randint(0, 3)
        ]

    def integer(self):
        return self.rng.choice(INTEGERS)

    def integers(self):
        return tuple(self.rng.choice(INTEGERS[:12]) for _ in range(self.rng.randint(0, 4)))

    def index(self):
        choices = [self.integer, lambda: None, lambda: Ellipsis, self.array]
        choices.append(lambda: slice(*(self.rng.choice([None, *INTEGERS[:12]]) for _ in range(3))))
        items = [self.rng.choice(choices)() for _ in range(self.rng.randint(1, 3))]
        return items[0] if len(items) == 1 else tuple(items)

    def function(self):
        return self.rng.choice(
            [lambda *a: mx.sum(mx.square(a[0])), lambda *a: a[0], lambda *a: list(a), lambda: 1]
        )

    def of(self, name: str, annotation: str):
        """A value that a parameter may have, or, sometimes, any other."""
        rng = self.rng
        if rng.random() < 0.04:
            return rng.choice(ODD)
        if name in ("n", "s") and "int" in annotation:
            return rng.choice(LENGTHS) if name == "n" else (rng.choice(LENGTHS),) * 2
        if name in WORDS and rng.random() < 0.9:
            return rng.choice(WORDS[name])
        kind = rng.choice([part.strip() for part in re.split(r"\|(?![^\[]*\])", annotation)])
        if "stream" in name or "device" in name or re.search("Stream|Device", kind):
            return rng.choice([None, None, mx.cpu])
        makers = [
            (r"list\[.*array|tuple\[.*array|Sequence\[.*array", self.arrays),
            (r"list\[str|Sequence\[str", lambda: rng.choice([["a"], ["a", "b"], [], ["1"]])),
            (r"(list|Sequence|tuple)\[.*(Sequence|tuple)\[int", lambda: [self.integers()]),
            (r"(list|Sequence|tuple)\[.*int", self.integers),
            (r"(list|Sequence|tuple)\[.*Dtype", lambda: [rng.choice(DTYPES)]),
            (r"array|ArrayLike", self.array),
            (r"Dtype", lambda: rng.choice(DTYPES)),
            (r"Callable", self.function),
            (r"bool", lambda: rng.random() < 0.5),
            (r"int", self.integer),
            (r"float", lambda: rng.choice(FLOATS)),
            (r"complex", lambda: complex(rng.choice(FLOATS[:5]), 1)),
            (r"str", lambda: rng.choice([*map(rng.choice, WORDS.values())])),
            (r"None", lambda: None),
        ]
        for pattern, make in makers:
            if re.search(pattern, kind):
                return make()
        return rng.choice([self.array, self.integer, self.integers])()


def _text_parameters(text: str):
    """Triples of a name, an annotation and whether there is a default, of nanobind's text."""
    inside = text[text.index("(") + 1 : text.rindex(")", 0, text.rindex(" ->"))]
    keyword_only = False
    for part in public.parts(inside):
        keyword_only |= part.startswith("*")
        name = re.match(r"\**\w*", part).group()
        if name.strip("*") and name != "self":
            annotation = part.partition(": ")[2].partition(" = ")[0]
            yield name, annotation, " = " in part, keyword_only


def _parameters(function):
    if hasattr(function, "__nb_signature__"):
        return [list(_text_parameters(s[0])) for s in function.__nb_signature__]
    listed = inspect.signature(function).parameters.values()
    return [
        [
            (
                ("*" if p.kind == p.VAR_POSITIONAL else "") + p.name,
                str(p.annotation),
                p.default is not p.empty,
                p.kind == p.KEYWORD_ONLY,
            )
            for p in listed
        ]
    ]


def callables():
    """Everything that is called: pairs of a name and a function, methods with the array first."""
    found = dict(public.functions())
    found |= {name: f for name, f in public.methods() if name.startswith("array.")}
    namespaces = (("xp.", xp), ("xp.fft.", xp.fft), ("xp.linalg.", xp.linalg))
    for prefix, namespace in namespaces:
        for name in namespace.__all__:
            if inspect.isfunction(getattr(namespace, name)):
                found[prefix + name] = getattr(namespace, name)
    kept = {name: f for name, f in found.items() if not NOT_CALLED.match(name)}
    return kept | {f"operator.{f.__name__}": f for f in OPERATORS}


class Caller:
    """Makes random calls, each from the state of one generator."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.values = Values(self.rng)
        self.functions = callables()
        self.names = sorted(self.functions)
        self.signatures = {
            name: _parameters(f) for name, f in self.functions.items() if "operator" not in name
        }

    def arguments(self, name: str):
        if name.startswith("operator."):
            second = self.values.index if name.endswith("getitem") else self.values.array
            return [self.values.array(), second()], {}
        positional, keywords = [], {}
        if name.startswith("array."):
            positional.append(self.values.array())
        for parameter, annotation, has_default, keyword_only in self.rng.choice(
            self.signatures[name]
        ):
            if parameter.startswith("**"):
                continue
            if parameter.startswith("*"):
                positional += self.values.arrays()
            elif not has_default or self.rng.random() < 0.35:
                value = self.values.of(parameter, annotation)
                if keyword_only or has_default:
                    keywords[parameter] = value
                else:
                    positional.append(value)
        return positional, keywords

    def call(self) -> tuple[str, str]:
        """One call: its name, and "result" or the class of its error."""
        name = self.rng.choice(self.names)
        function = self.functions[name]
        positional, keywords = self.arguments(name)
        way = self.rng.random()
        try:
            result = function(*positional, **keywords)
            mx.eval(arrays_in(result))
            if way < 0.25 and positional and isinstance(positional[0], mx.array):
                kept = self.rng.randrange(len(arrays_in(result)) + 1)
                transform(way, function, positional, keywords, kept)
        except ERRORS as error:
            return name, type(error).__name__
        return name, "result"


def arrays_in(result):
    if isinstance(result, (list, tuple)):
        return [a for part in result for a in arrays_in(part)]
    return [result] if isinstance(result, mx.array) else []


def transform(way, function, positional, keywords, kept):
    """A derivative or a batch of the call in its first array, of all results or of one."""
    first, *rest = positional

    def changed(a):
        results = arrays_in(function(a, *rest, **keywords))
        return results[kept : kept + 1] or results

    if way < 0.1:
        cotangents = [mx.ones_like(a) for a in changed(first)]
        mx.eval(mx.vjp(changed, [first], cotangents))
    elif way < 0.15:
        mx.eval(mx.jvp(changed, [first], [mx.ones_like(first)]))
    else:
        mx.eval(mx.vmap(changed)(mx.stack([first, first])))


def fuzz_calls(seed: int, count: int) -> dict[str, int]:
    """Makes calls; returns how many ended in which way."""
    caller = Caller(seed)
    outcomes = {}
    before = mx.set_memory_limit(LIMIT, strict=True)
    try:
        for _ in range(count):
            _, outcome = caller.call()
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        mx.set_memory_limit(before, strict=False)
    return outcomes
