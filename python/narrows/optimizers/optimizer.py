"""What all optimizers share: the tree of their state, the step, the learning rate, the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.utils import tree_map, tree_map_with_path

__all__ = ["Optimizer"]

Schedule = Callable[[mx.array], mx.array]
# Names of the state that no parameter at the root can have.
_RESERVED = ("step", "learning_rate")


def require(holds: bool, optimizer: str, values: str, expected: str) -> None:
    """Raises ValueError if an optimizer's option is not what was expected."""
    if not holds:
        raise ValueError(f"[{optimizer}] {values}, expected {expected}.")


def require_betas(optimizer: str, betas: Any) -> None:
    """Raises ValueError unless there are two coefficients of moving averages."""
    holds = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    require(holds, optimizer, f"betas={betas}", "two numbers of [0, 1)")


def moving_average(state: dict, name: str, beta: float, value: mx.array) -> mx.array:
    """Moves an average of the state towards a value, and returns it."""
    # In this order, one array beside the average suffices if operations are not fused.
    state[name] = beta * state[name] + (1 - beta) * value
    return state[name]


def _as_option(value: Any) -> mx.array:
    return value if isinstance(value, mx.array) else mx.array(float(value), mx.float32)


class Optimizer:
    """The base class of optimizers: applies `apply_single()` to each parameter of a tree.

    A class that inherits from it defines `init_single()` and `apply_single()`. Its constructor
    calls this one, and `_maybe_schedule()` for each option that may be a schedule.

    `state` is a dict: `step`, `learning_rate`, and, in the tree of the parameters, a dict of arrays
    for each of them. It is changed in place, so that `mx.compile()` can take and return it.

    Args:
      schedulers: Functions of the step, by the names of what they set in the state.

    Example:
      >>> import narrows.optimizers as optim
      >>> class SignDescent(optim.Optimizer):
      ...     def __init__(self, learning_rate):
      ...         super().__init__()
      ...         self._maybe_schedule("learning_rate", learning_rate)
      ...
      ...     def init_single(self, parameter, state):
      ...         pass
      ...
      ...     def apply_single(self, gradient, parameter, state):
      ...         return parameter - self.learning_rate.astype(gradient.dtype) * mx.sign(gradient)
      >>> parameters = {"w": mx.array([1.0, 2.0])}
      >>> SignDescent(0.5).apply_gradients({"w": mx.array([3.0, -3.0])}, parameters)["w"].tolist()
      [0.5, 2.5]
    """

    def __init__(self, schedulers: dict[str, Schedule] | None = None) -> None:
        self._initialized = False
        self._shared: dict | None = None
        self._state: dict = {"step": mx.array(0, mx.uint64)}
        self._schedulers = dict(schedulers or {})

    def update(self, model: Any, gradients: dict) -> None:
        """Updates a model by gradients of its parameters.

        Args:
          model: Gives its parameters by their keys, and takes a tree of new ones by `update()`:
            a module, or a dict.
          gradients: A tree of arrays: gradients of all parameters or of some.

        Raises:
          ValueError: A gradient has another shape than its parameter.

        Example:
          >>> import narrows.optimizers as optim
          >>> model = {"w": mx.array([1.0, 2.0])}
          >>> optim.SGD(learning_rate=0.5).update(model, {"w": mx.array([2.0, 2.0])})
          >>> model["w"].tolist()
          [0.0, 1.0]
        """
        model.update(self.apply_gradients(gradients, model))

    def init(self, parameters: dict) -> None:
        """Makes the state of parameters; what is there already stays.

        `apply_gradients()` does this for parameters that have no state yet.

        Args:
          parameters: A tree of arrays.

        Raises:
          ValueError: A parameter has a name that the state needs: `step` or `learning_rate`.

        Example:
          >>> import narrows.optimizers as optim
          >>> optimizer = optim.SGD(learning_rate=0.1, momentum=0.9)
          >>> optimizer.init({"w": mx.ones((2,))})
          >>> optimizer.state["w"]["v"].tolist()
          [0.0, 0.0]
        """
        self._require_tree("parameters", parameters)
        for name in _RESERVED:
            if name in parameters:
                raise ValueError(
                    f"[{type(self).__name__}] a parameter is called {name!r}, "
                    "expected names that the state does not use itself."
                )
        self._with_state(parameters, self._state)
        self._initialized = True

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Makes the state of one parameter. Classes that inherit define it.

        Args:
          parameter: The parameter, or another array of its shape and dtype.
          state: The dict that the arrays are put into.

        Raises:
          NotImplementedError: The class does not define it.

        Example:
          >>> import narrows.optimizers as optim
          >>> state = {}
          >>> optim.Adam(learning_rate=0.1).init_single(mx.ones((3,)), state)
          >>> sorted(state)
          ['m', 'v']
        """
        raise NotImplementedError(f"[{type(self).__name__}] has no init_single().")

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter. Classes that inherit define it.

        Args:
          gradient: The gradient of the parameter.
          parameter: The parameter.
          state: The state of the parameter, as `init_single()` made it; it is changed.

        Returns:
          The new parameter, of the same shape.

        Raises:
          NotImplementedError: The class does not define it.

        Example:
          >>> import narrows.optimizers as optim
          >>> optimizer = optim.SGD(learning_rate=0.5)
          >>> optimizer.apply_single(mx.array(1.0), mx.array(3.0), {}).item()
          2.5
        """
        raise NotImplementedError(f"[{type(self).__name__}] has no apply_single().")

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """Makes a step: changes the state, and returns the new parameters.

        Nothing is changed if an exception is raised.

        Args:
          gradients: A tree of arrays: gradients of all parameters or of some.
          parameters: The tree of the parameters.

        Returns:
          The tree of `gradients` with the new parameters, each of the dtype that it had.

        Raises:
          KeyError: There is a gradient, and no parameter at its place.
          ValueError: A gradient has another shape than its parameter.

        Example:
          >>> import narrows.optimizers as optim
          >>> optimizer = optim.SGD(learning_rate=0.5)
          >>> parameters = {"w": mx.array([1.0, 2.0]), "b": mx.array(0.0)}
          >>> gradients = {"w": mx.array([2.0, 2.0]), "b": mx.array(1.0)}
          >>> parameters = optimizer.apply_gradients(gradients, parameters)
          >>> parameters["w"].tolist(), parameters["b"].item(), optimizer.step.item()
          ([0.0, 1.0], -0.5, 1)
        """
        self._require_tree("gradients", gradients)
        if not self._initialized:
            self.init(gradients)
        settings = {name: self._state[name] for name in ("step", *self._schedulers)}
        try:
            for name, schedule in self._schedulers.items():
                self._state[name] = _as_option(schedule(self.step))
            self._state["step"] = self.step + 1
            try:
                new, states = self._applied(gradients, parameters)
            except (KeyError, IndexError):
                # A parameter may get its first gradient in this step.
                tree_map(lambda *_: None, gradients, parameters)
                self.init(gradients)
                new, states = self._applied(gradients, parameters)
        except BaseException:
            self._state.update(settings)
            raise
        for state, changed in states:
            state.update(changed)
        return new

    def _applied(self, gradients: dict, parameters: dict) -> tuple[dict, list[tuple[dict, dict]]]:
        """The new parameters, and pairs of a parameter's state and what it is to become."""
        states: list = []

        def apply(path, gradient, parameter, state):
            if gradient.shape != parameter.shape:
                raise ValueError(
                    f"[{type(self).__name__}] the gradient of {path!r} has shape {gradient.shape}, "
                    f"expected the parameter's, {parameter.shape}."
                )
            states.append((state, dict(state)))
            return self.apply_single(gradient, parameter, states[-1][1]).astype(parameter.dtype)

        self._shared = {}
        try:
            return tree_map_with_path(apply, gradients, parameters, self._state), states
        finally:
            self._shared = None

    def _once(self, name: str, dtype: mx.Dtype, make: Callable[[], mx.array]) -> mx.array:
        """What is the same for all parameters of a step that have this dtype: made once."""
        if self._shared is None:  # apply_single() by itself
            return make()
        key = (name, dtype)
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def _with_state(self, tree: Any, state: Any) -> Any:
        """The state of a tree of parameters: what is there of it already, and what was missing."""
        if isinstance(tree, dict):
            state = {} if state is None else state
            for key, item in tree.items():
                state[key] = self._with_state(item, state.get(key))
            return state
        if isinstance(tree, (list, tuple)):
            known = list(state or [])
            parts = known + [None] * (len(tree) - len(known))
            return [self._with_state(*pair) for pair in zip(tree, parts)] + parts[len(tree) :]
        if not state:
            state = {}
            self.init_single(tree, state)
        return state

    def _require_tree(self, what: str, tree: Any) -> None:
        if not isinstance(tree, dict):
            raise TypeError(
                f"[{type(self).__name__}] the {what} are of {type(tree)}, expected a dict of them."
            )

    @property
    def state(self) -> dict:
        """The state: a tree of arrays, for checkpoints and for `mx.compile()`."""
        return self._state

    @state.setter
    def state(self, state: dict) -> None:
        self._state = state
        self._initialized = False

    @property
    def step(self) -> mx.array:
        """How many steps were made: a uint64 array of shape ()."""
        return self._state["step"]

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate: a float32 array of shape (). It can be set, to a number as well."""
        return self._state["learning_rate"]

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        self._state["learning_rate"] = _as_option(learning_rate)

    def _maybe_schedule(self, name: str, option: float | mx.array | Schedule) -> None:
        """Puts an option into the state: a value, or what a schedule gives at the present step."""
        if callable(option):
            self._schedulers[name] = option
            option = option(self.step)
        elif not isinstance(option, (int, float, mx.array)) and not hasattr(option, "__float__"):
            raise TypeError(
                f"[{type(self).__name__}] {name}={option!r}, "
                "expected a number, an array or a function of the step."
            )
        self._state[name] = _as_option(option)
