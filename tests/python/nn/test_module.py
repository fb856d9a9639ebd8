"""Module: what is in it, walks over it, updates, weights, freezing."""

import copy
import pathlib
import pickle
import re
import signal
import subprocess
import sys

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
import pytest
from narrows.utils import tree_flatten


class Net(nn.Module):
    """Has a member of every kind."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 3), {"a": nn.Linear(3, 4)}, nn.ReLU()]
        self.w = mx.ones((2,))
        self._hidden = mx.ones((3,))
        self.number = 5
        self.none = None
        self.pair = (mx.ones((1,)), nn.Linear(1, 1))
        self.table = {"x": mx.zeros((2,)), "y": 3}
        self.mixed = [mx.zeros((1,)), None]
        self.empty = []
        self.norm = nn.BatchNorm(2)


NAMES = [
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.a.weight",
    "layers.1.a.bias",
    "w",
    "table.x",
    "mixed.0",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
]
TRAINABLE = [name for name in NAMES if "running" not in name]


def names(tree):
    return [name for name, _ in tree_flatten(tree)]


def test_containers_and_arrays_are_entries():
    net = Net()
    assert list(net) == [
        *("layers", "w", "_hidden", "pair", "table", "mixed", "empty", "norm"),
    ]
    assert net["w"] is net.w and net.number == 5 and "number" not in net
    net.number = mx.ones((1,))
    assert "number" in net and "number" not in net.__dict__
    net.number = 6
    assert "number" not in net and net.number == 6
    del net.w
    assert not hasattr(net, "w")
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'w'"):
        net.w
    with pytest.raises(AttributeError):
        del net.w
    with pytest.raises(AttributeError):
        net.training = False


def test_parameters_have_the_names_of_mlx():
    net = Net()
    assert names(net.parameters()) == NAMES
    assert names(net.trainable_parameters()) == TRAINABLE
    # What is no parameter leaves its place in lists and dicts.
    assert net.parameters()["layers"][2] == {}
    assert net.parameters()["table"]["y"] == {} and net.parameters()["mixed"][1] == {}
    assert net.parameters()["empty"] == []


def test_shown():
    assert repr(nn.Module()) == "Module()"
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.GELU()))) == (
        "Sequential(\n"
        "  (layers.0): Linear(input_dims=2, output_dims=3, bias=True)\n"
        "  (layers.1): Sequential(\n"
        "    (layers.0): GELU()\n"
        "  )\n"
        ")"
    )


def test_walks_over_modules():
    net = Net()
    assert [name for name, _ in net.named_modules()] == [
        *("", "norm", "layers.2", "layers.1.a", "layers.0"),
    ]
    assert net.modules()[0] is net and net.modules()[1] is net.norm
    children = net.children()
    assert children["layers"][1]["a"] is net.layers[1]["a"]
    assert children["table"] == {"x": {}, "y": {}} and children["mixed"] == [{}, {}]
    assert "w" not in children and "pair" not in children
    outer = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    leaves = outer.leaf_modules()["layers"]
    assert leaves[0]["layers"][0] is outer.layers[0].layers[0] and leaves[1] is outer.layers[1]
    assert nn.Module.is_module(net) and not nn.Module.is_module({})


def test_filter_and_map():
    net = Net()
    assert list(net.filter_and_map(lambda m, k, v: k == "w")) == ["w"]
    shapes = net.filter_and_map(nn.Module.valid_parameter_filter, lambda p: p.shape)
    assert shapes["layers"][1]["a"]["weight"] == (4, 3)
    seen = []
    net.filter_and_map(lambda module, key, value: seen.append((type(module).__name__, key)) or True)
    assert ("Net", "layers.1.a") in seen and ("Linear", "weight") in seen
    with pytest.raises(ValueError, match="array for weight, expected it to be a leaf"):
        net.filter_and_map(lambda m, k, v: True, is_leaf_fn=lambda m, k, v: False)


FILTERS = [
    (nn.Module.valid_child_filter, {"module", "dict", "list", "hidden_module"}),
    (nn.Module.valid_parameter_filter, {"module", "dict", "list", "array", "frozen"}),
    (nn.Module.trainable_parameter_filter, {"module", "dict", "list", "array"}),
]


@pytest.mark.parametrize("function, accepted", FILTERS)
def test_filters(function, accepted):
    owner = nn.Module()
    owner._no_grad.add("frozen")
    values = {
        "module": ("m", nn.ReLU()),
        "hidden_module": ("_m", nn.ReLU()),
        "dict": ("d", {}),
        "list": ("l", []),
        "tuple": ("t", ()),
        "number": ("n", 3),
        "array": ("a", mx.ones((1,))),
        "frozen": ("frozen", mx.ones((1,))),
        "hidden": ("_a", mx.ones((1,))),
    }
    assert {name for name, (k, v) in values.items() if function(owner, k, v)} == accepted


def test_update():
    net = Net()
    before = net.layers[0].weight
    assert net.update({"w": mx.zeros((5,)), "layers": [{}, {"a": {"bias": mx.ones((4,))}}]}) is net
    assert net.w.shape == (5,) and net.layers[1]["a"].bias.tolist() == [1.0] * 4
    assert net.layers[0].weight is before
    net.update(net.parameters())
    net.update({"_hidden": mx.zeros((1,))})
    assert net._hidden.tolist() == [0.0]


WRONG_PARAMETERS = [
    ({"zz": mx.ones((1,))}, "zz is not in the model"),
    ({"layers": [{"zz": mx.ones((1,))}]}, r"layers\.0\.zz is not in the model"),
    ({"layers": [{}, {}, {}, {"weight": mx.ones((1,))}]}, r"layers\.3 is not in .* 3 entries"),
    ({"w": 3}, "int for w, expected an array"),
    ({"w": {"a": mx.ones((1,))}}, "dict for w, expected an array"),
    ({"w": None}, "NoneType for w, expected an array"),
    ({"table": [mx.ones((1,))]}, "list for table, expected a tree like its dict"),
    ({"layers": {"0": mx.ones((1,))}}, "dict for layers, expected a tree like its list"),
    ({"norm": mx.ones((1,))}, "array for norm, expected a tree like its BatchNorm"),
    ([1], "list for the model, expected a tree like its Net"),
    (None, "NoneType for the model"),
]


@pytest.mark.parametrize("tree, message", WRONG_PARAMETERS)
def test_wrong_update(tree, message):
    net = Net()
    before = dict(tree_flatten(net.parameters()))
    with pytest.raises(ValueError, match=rf"\[update\] {message}"):
        net.update({"w": mx.zeros((9,)), **tree} if isinstance(tree, dict) else tree)
    after = dict(tree_flatten(net.parameters()))
    assert all(after[name] is value for name, value in before.items())
    if message.endswith("expected an array"):
        return  # without `strict` anything goes
    net.update(tree, strict=False)
    assert names(net.parameters()) == NAMES


def test_update_modules():
    net = Net()
    old = net.layers[0]
    net.update_modules({"layers": [{}, {"a": nn.Tanh()}], "norm": {}})
    assert net.layers[0] is old and isinstance(net.layers[1]["a"], nn.Tanh)
    net.update_modules(net.children())
    net.update_modules(net.leaf_modules())
    net.update_modules({"zz": nn.ReLU()}, strict=False)
    assert "zz" not in net


WRONG_MODULES = [
    ({"zz": nn.ReLU()}, "zz is not in the model"),
    ({"w": nn.ReLU()}, "a module for w, which is none"),
    ({"layers": nn.ReLU()}, "a module for layers, which is none"),
    ({"norm": {"weight": nn.ReLU()}}, r"a module for norm\.weight, which is none"),
    ({"norm": mx.ones((1,))}, "array for norm, expected a tree like its BatchNorm"),
    ({"layers": [{}, {}, {}, nn.ReLU()]}, r"layers\.3 is not in the model"),
    ({"layers": 3}, "int for layers"),
]


@pytest.mark.parametrize("tree, message", WRONG_MODULES)
def test_wrong_update_of_modules(tree, message):
    net = Net()
    before = net.modules()
    with pytest.raises(ValueError, match=rf"\[update_modules\] {message}"):
        net.update_modules(tree)
    assert all(a is b for a, b in zip(before, net.modules()))
    net.update_modules(tree, strict=False)


def test_load_weights():
    source, net = Net(), Net()
    weights = tree_flatten(source.parameters())
    for form in (weights, dict(weights), iter(weights)):
        assert net.load_weights(form) is net
    assert all(a is b for (_, a), (_, b) in zip(weights, tree_flatten(net.parameters())))
    half = [(name, w.astype(mx.float16)) for name, w in weights]
    assert net.load_weights(half).w.dtype == mx.float16
    net.load_weights([("w", mx.ones((7,))), ("zz", mx.ones((1,)))], strict=False)
    assert net.w.shape == (7,) and "zz" not in net


WRONG_WEIGHTS = [
    (lambda w: w[2:], r"the list lacks .* model: layers\.0\.bias, layers\.0\.weight$"),
    (lambda w: w + [("q.r", mx.ones((1,)))], r"the list has .* the model has not: q\.r$"),
    (lambda w: [("w", mx.ones((7,)))] + w[:4] + w[5:], r"shape \(7,\) for w, expected \(2,\)"),
    (lambda w: [("w", 3)] + w, "int for w, expected an array"),
]


@pytest.mark.parametrize("change, message", WRONG_WEIGHTS)
def test_wrong_weights(change, message):
    net = Net()
    before = dict(tree_flatten(net.parameters()))
    weights = list(before.items())
    changed = change(weights)
    with pytest.raises(ValueError, match=rf"\[load_weights\].*{message}"):
        net.load_weights(changed if changed[-1:] != weights[-1:] else dict(reversed(changed)))
    after = dict(tree_flatten(net.parameters()))
    assert all(after[name] is value for name, value in before.items())


@pytest.mark.parametrize("end", ["npz", "safetensors"])
def test_weights_in_files(tmp_path, end):
    source, net = Net(), Net()
    for file in (str(tmp_path / f"a.{end}"), tmp_path / f"b.{end}"):
        source.save_weights(file)
        net.load_weights(file)
        assert mx.array_equal(net.layers[0].weight, source.layers[0].weight).item()
        with pytest.raises(ValueError, match=rf"{end} lacks parameters of the model: zz"):
            net.zz = mx.ones((1,))
            net.load_weights(file)
        del net.zz


@pytest.mark.parametrize("end", ["npz", "safetensors"])
def test_damaged_files(tmp_path, end):
    """The error names the file, and the model keeps what it had."""
    file, net = tmp_path / f"a.{end}", Net()
    net.save_weights(file)
    content = file.read_bytes()
    before = dict(tree_flatten(net.parameters()))
    damaged = [b"", bytes(200), content[:-5], content[: len(content) // 2]]
    for wrong in [*damaged, bytes([content[0] ^ 255]) + content[1:]]:
        file.write_bytes(wrong)
        with pytest.raises(ValueError, match=re.escape(str(file))):
            net.load_weights(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(file))):
        net.load_weights(file)
    after = dict(tree_flatten(net.parameters()))
    assert all(after[name] is value for name, value in before.items())


KILLED = """
import resource, signal, sys
import narrows.core as mx, narrows.nn as nn
mx.random.seed(1)
layer = nn.Linear(500, 500)
mx.eval(layer.parameters())
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # a file that becomes too large ends the process
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
layer.save_weights(sys.argv[1])
"""


@pytest.mark.parametrize("end", ["npz", "safetensors"])
def test_a_process_that_dies_while_it_saves(tmp_path, end):
    """The checkpoint that was there before is whole."""
    file, layer = tmp_path / f"a.{end}", nn.Linear(4, 4)
    layer.save_weights(file)
    content = file.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], capture_output=True)
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    assert file.read_bytes() == content
    layer.load_weights(file)
    layer.save_weights(file)  # what the dead process left does not stand in the way


def test_files_of_other_formats():
    with pytest.raises(ValueError, match=r"model.bin, expected a name with .npz or .safetensors"):
        Net().save_weights(pathlib.Path("model.bin"))


def test_freeze():
    net = Net()
    assert net.freeze() is net and names(net.trainable_parameters()) == []
    net.layers[0].unfreeze(keys="bias")
    assert names(net.trainable_parameters()) == ["layers.0.bias"]
    net.unfreeze(recurse=False)
    assert names(net.trainable_parameters()) == ["layers.0.bias", "w", "table.x", "mixed.0"]
    net.unfreeze(keys=["weight"])
    assert "layers.1.a.weight" in names(net.trainable_parameters())
    assert "layers.1.a.bias" not in names(net.trainable_parameters())
    net.unfreeze().freeze(recurse=False)
    assert names(net.trainable_parameters()) == [
        name for name in TRAINABLE if name not in ("w", "table.x", "mixed.0")
    ]
    net.unfreeze().freeze(keys="table")
    assert names(net.trainable_parameters()) == [n for n in TRAINABLE if n != "table.x"]


def test_running_averages_are_always_frozen():
    net = Net()
    net.unfreeze()
    assert names(net.trainable_parameters()) == TRAINABLE
    net.norm.unfreeze(keys="running_mean")
    assert names(net.norm.trainable_parameters()) == ["weight", "bias"]


@pytest.mark.parametrize("method", ["freeze", "unfreeze"])
def test_strict_keys(method):
    net = Net()
    for keys in ("zz", ["w", "zz"], "table.x"):
        with pytest.raises(KeyError, match="Net has no member (zz|table)"):
            getattr(net, method)(keys=keys, strict=True)
    with pytest.raises(KeyError):
        getattr(net, method)(keys="weight", strict=True, recurse=False)
    assert net._no_grad == set()
    getattr(net, method)(keys="weight", strict=True)  # modules below have it
    getattr(net, method)(keys="zz")


def test_training_mode():
    net = Net()
    assert net.training and net.norm.training
    assert net.eval() is net
    assert not net.training and not net.layers[1]["a"].training
    net.train()
    assert net.layers[0].training
    assert not net.train(False).layers[0].training


def test_apply_and_set_dtype():
    net = Net()
    net.count = mx.array([1])
    assert net.apply(lambda p: p + 1) is net
    assert net.w.tolist() == [2.0, 2.0] and net._hidden.tolist() == [1.0] * 3
    net.apply(lambda p: p * 0, nn.Module.trainable_parameter_filter)
    assert net.w.tolist() == [0.0, 0.0] and net.norm.running_var.tolist() == [2.0, 2.0]
    net.set_dtype(mx.float16)
    assert net.w.dtype == mx.float16 and net.norm.running_mean.dtype == mx.float16
    assert net.count.dtype == mx.int32 and net._hidden.dtype == mx.float32
    net.set_dtype(mx.float32, predicate=None)
    assert net.count.dtype == mx.float32


def test_state_is_the_module():
    net = Net()
    assert net.state is net
    copied = pickle.loads(pickle.dumps(nn.Linear(2, 2)))
    assert names(copied.parameters()) == ["weight", "bias"] and copied.training
    linear = nn.Linear(2, 2)
    deep = copy.deepcopy(linear).freeze()
    assert deep.weight is not linear.weight and names(linear.trainable_parameters())


def test_compiled_training_step_changes_the_state():
    mx.random.seed(5)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm(8), nn.Dropout(0.1), nn.Linear(8, 1)
    )
    optimizer = optim.Adam(0.02)
    x, y = mx.random.normal((32, 4)), mx.random.normal((32, 1))
    function = nn.value_and_grad(model, lambda: nn.losses.mse_loss(model(x), y))

    def step():
        loss, gradients = function()
        optimizer.update(model, gradients)
        return loss

    state = [model.state, optimizer.state, mx.random.state]
    compiled = mx.compile(step, inputs=state, outputs=state)
    losses = [compiled().item() for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
    assert model.layers[2].running_mean.tolist() != [0.0] * 8
    assert len(set(losses)) > 30  # dropout draws other numbers in each call
    assert optimizer.state["step"].item() == 40
