"""Several optimizers, each for some of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer
from narrows.utils import tree_map_with_path, tree_merge

__all__ = ["MultiOptimizer"]


def _part(tree: Any, owners: Any, owner: int) -> Any:
    """The leaves of a tree that an owner has; in lists, `{}` stands for others before them."""
    if isinstance(tree, dict):
        parts = {key: _part(item, owners[key], owner) for key, item in tree.items()}
        return {key: part for key, part in parts.items() if part is not None} or None
    if isinstance(tree, (list, tuple)):
        parts = [_part(item, owners[i], owner) for i, item in enumerate(tree)]
        while parts and parts[-1] is None:
            parts.pop()
        return [{} if part is None else part for part in parts] or None
    return tree if owners == owner else None


class MultiOptimizer(Optimizer):
    """Gives each parameter to one of several optimizers.

    The state is `{"states": [...]}`: those of the optimizers, in their order. The learning rate is
    the first one's; setting it sets that of all.

    Args:
      optimizers: The optimizers. The last one has what no filter wants.
      filters: A function for each optimizer but the last: it takes the path of a parameter, as in
        `"layers.0.weight"`, and an array of its shape, and says whether the optimizer has it. The
        first that wants a parameter has it.

    Raises:
      ValueError: The number of filters is not one less than that of optimizers.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.MultiOptimizer(
      ...     [optim.Muon(learning_rate=0.02), optim.AdamW(learning_rate=0.001)],
      ...     [lambda path, weight: weight.ndim >= 2],
      ... )
      >>> optimizer.init({"weight": mx.ones((4, 4)), "bias": mx.ones((4,))})
      >>> [sorted(state) for state in optimizer.state["states"]]
      [['learning_rate', 'step', 'weight'], ['bias', 'learning_rate', 'step']]
    """

    def __init__(
        self, optimizers: list[Optimizer], filters: list[Callable[[str, mx.array], bool]] = ()
    ) -> None:
        super().__init__()
        self._state = {}
        if len(filters) != len(optimizers) - 1:
            raise ValueError(
                f"[MultiOptimizer] {len(filters)} filters for {len(optimizers)} optimizers, "
                "expected one less than there are optimizers."
            )
        self.optimizers = list(optimizers)
        self.filters = [*filters, lambda path, weight: True]

    def _parts(self, tree: dict) -> list[dict]:
        """The part of the tree that each optimizer has."""

        def owner(path, leaf):
            return next(i for i, wants in enumerate(self.filters) if wants(path, leaf))

        self._require_tree("parameters", tree)
        owners = tree_map_with_path(owner, tree)
        return [_part(tree, owners, i) or {} for i in range(len(self.optimizers))]

    def init(self, parameters: dict) -> None:
        """Makes the states of parameters, each in its optimizer.

        Args:
          parameters: A tree of arrays.

        Raises:
          ValueError: A parameter has a name that the state needs: `step` or `learning_rate`.

        Example:
          >>> import narrows.optimizers as optim
          >>> optimizer = optim.MultiOptimizer([optim.Lion(0.1)])
          >>> optimizer.init({"w": mx.ones((2,))})
          >>> optimizer.state["states"][0]["w"]["m"].tolist()
          [0.0, 0.0]
        """
        for optimizer, part in zip(self.optimizers, self._parts(parameters)):
            optimizer.init(part)

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """Makes a step with each optimizer, and returns the new parameters.

        Args:
          gradients: A tree of arrays: gradients of all parameters or of some.
          parameters: The tree of the parameters.

        Returns:
          The tree of `gradients` with the new parameters. Tuples become lists.

        Raises:
          KeyError: There is a gradient, and no parameter at its place.
          ValueError: A gradient has another shape than its parameter.

        Example:
          >>> import narrows.optimizers as optim
          >>> optimizer = optim.MultiOptimizer(
          ...     [optim.SGD(1.0), optim.SGD(0.5)], [lambda path, weight: path.endswith("bias")]
          ... )
          >>> ones = {"weight": mx.array(1.0), "bias": mx.array(1.0)}
          >>> new = optimizer.apply_gradients(ones, ones)
          >>> new["weight"].item(), new["bias"].item()
          (0.5, 0.0)
        """
        new: dict = {}
        for optimizer, part in zip(self.optimizers, self._parts(gradients)):
            new = tree_merge(new, optimizer.apply_gradients(part, parameters))
        return new

    @property
    def state(self) -> dict:
        """The states of the optimizers: `{"states": [...]}`."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, state: dict) -> None:
        states = state.get("states")
        if states is None or len(states) != len(self.optimizers):
            raise ValueError(
                f"[MultiOptimizer] a state with {sorted(state)}, expected a list 'states' of "
                f"{len(self.optimizers)} states."
            )
        for optimizer, one in zip(self.optimizers, states):
            optimizer.state = one

    @property
    def step(self) -> mx.array:
        """How many steps were made: a uint64 array of shape ()."""
        return self.optimizers[0].step

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate of the first optimizer. Setting it sets that of all."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate
