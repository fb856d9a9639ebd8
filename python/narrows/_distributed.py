"""``narrows.core.distributed``: groups of processes. A process that nobody launched with others is
a group of one, whose collectives give back what they are given."""

from collections.abc import Callable, Sequence

import narrows.core as mx

__all__ = [
    "Group",
    "all_gather",
    "all_max",
    "all_min",
    "all_sum",
    "init",
    "is_available",
    "recv",
    "recv_like",
    "send",
    "sum_scatter",
]

_BACKENDS = ("any", "mpi", "nccl", "jaccl", "ring")


class Group:
    """Processes that compute together; `init()` makes one.

    Example:
      >>> mx.distributed.Group().size()
      1
    """

    def rank(self) -> int:
        """The number of this process in the group.

        Returns:
          int: From 0 on.

        Example:
          >>> mx.distributed.init().rank()
          0
        """
        return 0

    def size(self) -> int:
        """How many processes the group has.

        Returns:
          int: At least 1.

        Example:
          >>> mx.distributed.init().size()
          1
        """
        return 1

    def split(self, color: int, key: int = -1) -> "Group":
        """Splits the group: processes that name the same color form a new one.

        Args:
          color: Which of the new groups this process belongs to.
          key: Its place there; negative: in the order of the ranks.

        Returns:
          Group: The new group.

        Raises:
          RuntimeError: The group has one process. No backend connects several.

        Example:
          >>> mx.distributed.init().split(color=0)
          Traceback (most recent call last):
            ...
          RuntimeError: [split] a group of one process, color 0: it cannot be split any further
        """
        raise RuntimeError(
            f"[split] a group of one process, color {color}: it cannot be split any further"
        )


_WORLD = Group()


def init(
    strict: bool = False,
    backend: str = "any",
    *,
    all_gather_factory: Callable[[int, int], Callable[[bytes, int], bytes]] | None = None,
) -> Group:
    """The group of all processes, which is this one alone.

    Args:
      strict: Whether a group of one is an error.
      backend: ``"any"``, ``"mpi"``, ``"nccl"``, ``"jaccl"`` or ``"ring"``.
      all_gather_factory: How processes find each other. A group of one does not call it.

    Returns:
      Group: The group.

    Raises:
      ValueError: An unknown backend.
      RuntimeError: `strict` is set: no backend connects processes.

    Example:
      >>> group = mx.distributed.init()
      >>> group.rank(), group.size()
      (0, 1)
    """
    if backend not in _BACKENDS:
        raise ValueError(f"[init] backend {backend!r}, expected one of {', '.join(_BACKENDS)}")
    if strict:
        raise RuntimeError(
            f"[init] strict, with backend {backend!r}: no backend that connects processes is there"
        )
    return _WORLD


def is_available(backend: str = "any") -> bool:
    """Whether processes can be connected.

    Args:
      backend: The backend; ``"any"`` asks whether there is one at all.

    Returns:
      bool: False: there is no backend.

    Example:
      >>> mx.distributed.is_available()
      False
    """
    return False


def _array(op: str, x: mx.array, group: Group | None) -> mx.array:
    if group is not None and not isinstance(group, Group):
        raise TypeError(f"[{op}] group of type {type(group).__name__}, expected a Group or None")
    return x if isinstance(x, mx.array) else mx.array(x)


def all_sum(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The sum over all processes.

    Args:
      x: What this process adds.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`.

    Example:
      >>> mx.distributed.all_sum(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _array("all_sum", x, group)


def all_max(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The maximum over all processes.

    Args:
      x: What this process has.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`.

    Example:
      >>> mx.distributed.all_max(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _array("all_max", x, group)


def all_min(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The minimum over all processes.

    Args:
      x: What this process has.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`.

    Example:
      >>> mx.distributed.all_min(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _array("all_min", x, group)


def all_gather(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The arrays of all processes, one after the other along the first axis.

    Args:
      x: What this process has.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape of `x`, with its first axis as often as there are processes.

    Example:
      >>> mx.distributed.all_gather(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _array("all_gather", x, group)


def sum_scatter(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """This process's part, along the first axis, of the sum over all.

    Args:
      x: What this process adds.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape of `x`, with its first axis divided by the number of processes.

    Example:
      >>> mx.distributed.sum_scatter(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _array("sum_scatter", x, group)


def send(x: mx.array, dst: int, *, group: Group | None = None, stream=None) -> mx.array:
    """Sends an array to another process.

    Args:
      x: The array.
      dst: The rank of the process that receives it.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: An array that is ready when `x` is sent.

    Raises:
      ValueError: The group has one process. No backend connects several.

    Example:
      >>> mx.distributed.send(mx.array(1.0), dst=1)
      Traceback (most recent call last):
        ...
      ValueError: [send] to rank 1 of a group of one process, expected another process
    """
    _array("send", x, group)
    raise ValueError(f"[send] to rank {dst} of a group of one process, expected another process")


def recv(
    shape: Sequence[int], dtype: mx.Dtype, src: int, *, group: Group | None = None, stream=None
) -> mx.array:
    """Receives an array from another process.

    Args:
      shape: The array's shape.
      dtype: Its dtype.
      src: The rank of the process that sends it.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The array.

    Raises:
      ValueError: The group has one process. No backend connects several.

    Example:
      >>> mx.distributed.recv((2,), mx.float32, src=1)
      Traceback (most recent call last):
        ...
      ValueError: [recv] from rank 1 of a group of one process, expected another process
    """
    raise ValueError(f"[recv] from rank {src} of a group of one process, expected another process")


def recv_like(x: mx.array, src: int, *, group: Group | None = None, stream=None) -> mx.array:
    """Receives an array with the shape and dtype of another one.

    Args:
      x: The array whose shape and dtype it has.
      src: The rank of the process that sends it.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The array.

    Raises:
      ValueError: The group has one process. No backend connects several.

    Example:
      >>> mx.distributed.recv_like(mx.zeros(2), src=1)
      Traceback (most recent call last):
        ...
      ValueError: [recv] from rank 1 of a group of one process, expected another process
    """
    x = _array("recv_like", x, group)
    return recv(x.shape, x.dtype, src, group=group, stream=stream)
