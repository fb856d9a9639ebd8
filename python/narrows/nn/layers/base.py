"""Module: a dict of parameters and of other modules, the base of all layers."""

import os
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import narrows.core as mx
from narrows.nn.layers import tree
from narrows.utils import tree_flatten, tree_unflatten


def _is_floating(dtype: mx.Dtype) -> bool:
    return mx.issubdtype(dtype, mx.floating)


class Module(tree.ModuleDict):
    """The base class of layers and models.

    A module is a dict. Arrays, modules, and dicts, lists and tuples that are assigned to
    attributes become its entries; other attributes stay ordinary ones. Arrays in it, in its dicts
    and lists and in the modules below are its parameters, unless their names begin with an
    underscore. Names of parameters are paths: ``layers.0.weight``.

    Example:
      >>> import narrows.nn as nn
      >>> class MLP(nn.Module):
      ...     def __init__(self, inputs: int, outputs: int):
      ...         super().__init__()
      ...         self.layers = [nn.Linear(inputs, 8), nn.Linear(8, outputs)]
      ...     def __call__(self, x):
      ...         return self.layers[1](nn.relu(self.layers[0](x)))
      >>> model = MLP(4, 2)
      >>> model(mx.ones((3, 4))).shape
      (3, 2)
      >>> model
      MLP(
        (layers.0): Linear(input_dims=4, output_dims=8, bias=True)
        (layers.1): Linear(input_dims=8, output_dims=2, bias=True)
      )
    """

    __call__: Callable

    def __init__(self):
        """Makes an empty module. Classes call it before they assign attributes.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Module()
          Module()
        """
        super().__init__()
        self._no_grad = set()
        self._training = True

    @property
    def training(self) -> bool:
        """Whether the module is in training mode: `train()` and `eval()` say so."""
        return self._training

    @property
    def state(self) -> dict:
        """The module itself, as the dict of everything that `mx.compile` has to know of it."""
        return self

    def _extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self._extra_repr()}"
        children = tree_flatten(self.children(), is_leaf=Module.is_module)
        for name, child in children:
            text += "\n" + textwrap.indent(f"({name}): {child!r}", "  ")
        return text + ("\n)" if children else ")")

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{key}'")

    def __setattr__(self, key: str, value: Any) -> None:
        if isinstance(value, (mx.array, dict, list, tuple)):
            self.__dict__.pop(key, None)
            self[key] = value
        else:
            super().__setattr__(key, value)
            self.pop(key, None)

    def __delattr__(self, key: str) -> None:
        if key in self:
            del self[key]
        else:
            super().__delattr__(key)

    def load_weights(
        self,
        file_or_weights: str | os.PathLike | Iterable[tuple[str, mx.array]],
        strict: bool = True,
    ) -> "Module":
        """Replaces parameters by those of a file or a list.

        Args:
          file_or_weights: The name of a .safetensors or .npz file, or pairs of a parameter's
            path and an array.
          strict: If true, the weights must be exactly the model's: no name missing, none left
            over, every shape the same. If false, those that the model has are replaced, whatever
            their shapes, and others are ignored.

        Returns:
          Module: The module itself.

        Raises:
          ValueError: Names or shapes differ (the message lists which), a weight is no array, or
            the file has another format.

        Example:
          >>> import narrows.nn as nn
          >>> model = nn.Linear(2, 1)
          >>> model.load_weights([("weight", mx.ones((1, 2))), ("bias", mx.zeros((1,)))])
          Linear(input_dims=2, output_dims=1, bias=True)
          >>> model(mx.array([3.0, 4.0])).tolist()
          [7.0]
        """
        source = "the list"
        if isinstance(file_or_weights, (str, os.PathLike)):
            source = os.fspath(file_or_weights)
            file_or_weights = mx.load(source)
            if not isinstance(file_or_weights, dict):
                raise ValueError(f"[load_weights] {source} has one array, expected named ones")
        weights = dict(file_or_weights)
        for name, value in weights.items():
            if not isinstance(value, mx.array):
                raise ValueError(
                    f"[load_weights] {source} has {type(value).__name__} for {name}, "
                    "expected an array"
                )
        if strict:
            self._check_weights(weights, source)
        return self.update(tree_unflatten(list(weights.items())), strict=False)

    def _check_weights(self, weights: dict, source: str) -> None:
        """Raises ValueError unless the weights have the parameters' names and shapes."""
        parameters = dict(tree_flatten(self.parameters()))
        for names, problem in (
            (weights.keys() - parameters.keys(), "has parameters that the model has not"),
            (parameters.keys() - weights.keys(), "lacks parameters of the model"),
        ):
            if names:
                listed = ", ".join(sorted(names))
                raise ValueError(f"[load_weights] {source} {problem}: {listed}")
        for name, value in weights.items():
            if value.shape != parameters[name].shape:
                raise ValueError(
                    f"[load_weights] {source} has shape {value.shape} for {name}, "
                    f"expected {parameters[name].shape}"
                )

    def save_weights(self, file: str | os.PathLike) -> None:
        """Writes all parameters to a file.

        Args:
          file: The file's name. Its end, .safetensors or .npz, selects the format.

        Raises:
          ValueError: The name ends with something else.

        Example:
          >>> import narrows.nn as nn
          >>> model = nn.Linear(2, 1)
          >>> model.save_weights("model.safetensors")
          >>> nn.Linear(2, 1).load_weights("model.safetensors")
          Linear(input_dims=2, output_dims=1, bias=True)
        """
        name = os.fspath(file)
        weights = dict(tree_flatten(self.parameters()))
        if name.endswith(".npz"):
            mx.savez(name, **weights)
        elif name.endswith(".safetensors"):
            mx.save_safetensors(name, weights)
        else:
            raise ValueError(f"[save_weights] {name}, expected a name with .npz or .safetensors")

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether a value is a module.

        Args:
          value: Anything.

        Returns:
          bool: True for modules.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Module.is_module(nn.ReLU()), nn.Module.is_module({})
          (True, False)
        """
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: "Module", key: str, value: Any) -> bool:
        """Lets through what modules can be in: modules, dicts and lists. For `filter_and_map()`.

        Args:
          module: The module that has the value.
          key: The name of the value in it.
          value: The value.

        Returns:
          bool: True for modules, dicts and lists.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Module.valid_child_filter(nn.ReLU(), "layers", [])
          True
        """
        return isinstance(value, (dict, list))

    @staticmethod
    def valid_parameter_filter(module: "Module", key: str, value: Any) -> bool:
        """Lets through parameters and what they can be in. For `filter_and_map()`.

        Args:
          module: The module that has the value.
          key: The name of the value in it.
          value: The value.

        Returns:
          bool: True for arrays, modules, dicts and lists whose names have no underscore in front.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Module.valid_parameter_filter(nn.ReLU(), "_frequencies", mx.ones((2,)))
          False
        """
        return isinstance(value, (dict, list, mx.array)) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module: "Module", key: str, value: Any) -> bool:
        """Lets through parameters that are not frozen. For `filter_and_map()`.

        Args:
          module: The module that has the value.
          key: The name of the value in it.
          value: The value.

        Returns:
          bool: True for parameters that are not frozen, and for what they can be in.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.Linear(2, 2).freeze(keys="bias")
          >>> nn.Module.trainable_parameter_filter(layer, "bias", layer.bias)
          False
        """
        return Module.valid_parameter_filter(module, key, value) and key not in module._no_grad

    def filter_and_map(
        self,
        filter_fn: Callable[["Module", str, Any], bool],
        map_fn: Callable | None = None,
        is_leaf_fn: Callable[["Module", str, Any], bool] | None = None,
    ) -> dict:
        """The entries of the module that pass a filter, as a tree of dicts and lists.

        Args:
          filter_fn: Called with a module, the name of an entry in it and the entry: whether to
            keep it. Entries of dicts and lists have names like ``layers.0``.
          map_fn: What leaves are replaced by; default: themselves.
          is_leaf_fn: Called like `filter_fn`: whether to go no deeper. By default everything is a
            leaf but modules, dicts and lists.

        Returns:
          dict: The tree. What was filtered out of dicts and lists leaves an empty dict.

        Raises:
          ValueError: `is_leaf_fn` denies that something is a leaf which nothing can be in.

        Example:
          >>> import narrows.nn as nn
          >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
          >>> model.filter_and_map(nn.Module.valid_parameter_filter, lambda p: p.shape)
          {'layers': [{'weight': (3, 2), 'bias': (3,)}, {}]}
        """
        map_fn = map_fn or (lambda value: value)
        is_leaf_fn = is_leaf_fn or (lambda module, key, v: not isinstance(v, (dict, list)))
        return tree.members(self, filter_fn, map_fn, is_leaf_fn)

    def parameters(self) -> dict:
        """All parameters, of the modules below too.

        Returns:
          dict: A tree of dicts and lists of arrays.

        Example:
          >>> import narrows.nn as nn
          >>> list(nn.Linear(2, 3).parameters())
          ['weight', 'bias']
        """
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self) -> dict:
        """The parameters that are not frozen: what `nn.value_and_grad()` differentiates for.

        Returns:
          dict: A tree of dicts and lists of arrays.

        Example:
          >>> import narrows.nn as nn
          >>> list(nn.Linear(2, 3).freeze(keys="bias").trainable_parameters())
          ['weight']
        """
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self) -> dict:
        """The modules right below this one.

        Returns:
          dict: A tree of dicts and lists whose leaves are modules.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Sequential(nn.ReLU(), nn.Tanh()).children()
          {'layers': [ReLU(), Tanh()]}
        """
        return self.filter_and_map(
            self.valid_child_filter,
            is_leaf_fn=lambda module, key, value: isinstance(value, Module),
        )

    def leaf_modules(self) -> dict:
        """The modules below this one that have no modules themselves.

        Returns:
          dict: A tree of dicts and lists whose leaves are modules.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh()).leaf_modules()
          {'layers': [{'layers': [ReLU()]}, Tanh()]}
        """

        def is_leaf(module, key, value):
            return isinstance(value, Module) and not tree_flatten(
                value.children(), is_leaf=Module.is_module
            )

        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=is_leaf)

    def named_modules(self) -> list[tuple[str, "Module"]]:
        """The module and all modules below it, with their paths.

        Returns:
          list[tuple[str, Module]]: Pairs of a path and a module. The module itself is the first;
          its path is empty.

        Example:
          >>> import narrows.nn as nn
          >>> [name for name, _ in nn.Sequential(nn.ReLU(), nn.Tanh()).named_modules()]
          ['', 'layers.1', 'layers.0']
        """
        found = []
        self.apply_to_modules(lambda name, module: found.append((name, module)))
        return found

    def modules(self) -> list["Module"]:
        """The module and all modules below it.

        Returns:
          list[Module]: The module itself is the first.

        Example:
          >>> import narrows.nn as nn
          >>> len(nn.Sequential(nn.ReLU(), nn.Tanh()).modules())
          3
        """
        return [module for _, module in self.named_modules()]

    def update(self, parameters: dict, strict: bool = True) -> "Module":
        """Replaces parameters. Nothing changes where it raises.

        Args:
          parameters: A tree as `parameters()` gives, or a part of one.
          strict: If true, what the model does not have is an error; else it is ignored.

        Returns:
          Module: The module itself.

        Raises:
          ValueError: The tree does not fit the module; the message names the path.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.Linear(2, 2).update({"bias": mx.array([1.0, 2.0])})
          >>> layer.bias.tolist()
          [1.0, 2.0]
        """
        for container, key, value in list(tree.array_assignments(self, parameters, strict)):
            container[key] = value
        return self

    def update_modules(self, modules: dict, strict: bool = True) -> "Module":
        """Replaces modules below this one. Nothing changes where it raises.

        Args:
          modules: A tree as `children()` or `leaf_modules()` gives, or a part of one.
          strict: If true, what the model does not have is an error; else it is ignored.

        Returns:
          Module: The module itself.

        Raises:
          ValueError: The tree does not fit the module; the message names the path.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Sequential(nn.ReLU(), nn.Tanh()).update_modules({"layers": [nn.GELU(), {}]})
          Sequential(
            (layers.0): GELU()
            (layers.1): Tanh()
          )
        """
        for container, key, value in list(tree.module_assignments(self, modules, strict)):
            container[key] = value
        return self

    def apply(
        self,
        map_fn: Callable[[mx.array], mx.array],
        filter_fn: Callable[["Module", str, Any], bool] | None = None,
    ) -> "Module":
        """Replaces parameters by a function of them.

        Args:
          map_fn: Called with each parameter.
          filter_fn: Which ones, as for `filter_and_map()`; default: all.

        Returns:
          Module: The module itself.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Linear(2, 2).apply(lambda p: p.astype(mx.float16)).weight.dtype
          narrows.core.float16
        """
        filter_fn = filter_fn or Module.valid_parameter_filter
        return self.update(self.filter_and_map(filter_fn, map_fn))

    def apply_to_modules(self, apply_fn: Callable[[str, "Module"], Any]) -> "Module":
        """Calls a function with the module and with each module below it.

        Args:
          apply_fn: Called with the path of a module and the module.

        Returns:
          Module: The module itself.

        Example:
          >>> import narrows.nn as nn
          >>> model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.ReLU()))
          >>> _ = model.apply_to_modules(lambda name, module: print(repr(name)))
          ''
          'layers.1'
          'layers.1.layers.0'
          'layers.0'
        """
        waiting = [("", self)]
        while waiting:
            path, module = waiting.pop()
            apply_fn(path, module)
            waiting += [
                (tree.below(path, name), child)
                for name, child in tree_flatten(module.children(), is_leaf=Module.is_module)
            ]
        return self

    def _checked_keys(self, keys: str | list[str], recurse: bool, strict: bool) -> list[str]:
        keys = [keys] if isinstance(keys, str) else list(keys)
        if strict:
            owners = self.modules() if recurse else [self]
            for key in keys:
                if not any(key in owner for owner in owners):
                    raise KeyError(f"{type(self).__name__} has no member {key}")
        return keys

    def _own_parameters(self) -> list[str]:
        """The names of the parameters that are in no module below."""
        own = self.filter_and_map(
            lambda module, key, value: (
                not isinstance(value, Module) and Module.valid_parameter_filter(module, key, value)
            )
        )
        return [name for name, _ in tree_flatten(own)]

    def freeze(
        self,
        *,
        recurse: bool = True,
        keys: str | list[str] | None = None,
        strict: bool = False,
    ) -> "Module":
        """Makes parameters constant: they are no longer trainable.

        Args:
          recurse: Whether modules below are frozen, too.
          keys: The names of the parameters within their modules, as in ``"bias"``; default: all.
          strict: Whether keys that no module has are an error.

        Returns:
          Module: The module itself.

        Raises:
          KeyError: `strict` is true and no module has such a key. Nothing changes then.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Sequential(nn.Linear(2, 2)).freeze().trainable_parameters()
          {'layers': [{}]}
        """
        if keys is not None:
            keys = self._checked_keys(keys, recurse, strict)
        if recurse:
            return self.apply_to_modules(lambda _, m: m.freeze(recurse=False, keys=keys))
        self._no_grad.update(self._own_parameters() if keys is None else keys)
        return self

    def unfreeze(
        self,
        *,
        recurse: bool = True,
        keys: str | list[str] | None = None,
        strict: bool = False,
    ) -> "Module":
        """Makes parameters trainable again.

        Args:
          recurse: Whether this goes for modules below, too.
          keys: The names of the parameters within their modules, as in ``"bias"``; default: all.
          strict: Whether keys that no module has are an error.

        Returns:
          Module: The module itself.

        Raises:
          KeyError: `strict` is true and no module has such a key. Nothing changes then.

        Example:
          >>> import narrows.nn as nn
          >>> model = nn.Sequential(nn.Linear(2, 2)).freeze()
          >>> list(model.unfreeze(keys="bias").trainable_parameters()["layers"][0])
          ['bias']
        """
        if keys is not None:
            keys = self._checked_keys(keys, recurse, strict)
        if recurse:
            return self.apply_to_modules(lambda _, m: m.unfreeze(recurse=False, keys=keys))
        if keys is None:
            self._no_grad.clear()
        else:
            self._no_grad.difference_update(keys)
        return self

    def _set_training_mode(self, mode: bool) -> None:
        """Classes that have more to do when the mode changes extend it."""
        self._training = mode

    def train(self, mode: bool = True) -> "Module":
        """Says whether the model is being trained: dropout and batch norm depend on it.

        Args:
          mode: True for training, false for inference.

        Returns:
          Module: The module itself.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Dropout().train(False).training
          False
        """
        return self.apply_to_modules(lambda _, module: module._set_training_mode(mode))

    def eval(self) -> "Module":
        """The same as ``train(False)``.

        Returns:
          Module: The module itself.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Dropout().eval().training
          False
        """
        return self.train(False)

    def set_dtype(
        self,
        dtype: mx.Dtype,
        predicate: Callable[[mx.Dtype], bool] | None = _is_floating,
    ) -> None:
        """Converts the parameters to a dtype.

        Args:
          dtype: The new dtype.
          predicate: Called with a parameter's dtype: whether to convert it. By default parameters
            of floating dtypes are converted; with None all are.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.Linear(2, 2)
          >>> layer.set_dtype(mx.bfloat16)
          >>> layer.weight.dtype
          narrows.core.bfloat16
        """
        convert = predicate or (lambda _: True)
        self.apply(lambda p: p.astype(dtype) if convert(p.dtype) else p)
