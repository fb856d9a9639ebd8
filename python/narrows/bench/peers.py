"""What narrows is compared with beside MLX: PyTorch and llama.cpp, with the same sizes."""

import resource
import time


def make(request: dict):
    """The worker of a peer: {"library": "torch" or "llama.cpp", "workload": ..., ...}."""
    if request["library"] == "torch":
        from .torch_peer import TorchWorker

        return TorchWorker(request)
    if request["library"] == "llama.cpp":
        from .llama_cpp_peer import LlamaCppWorker

        return LlamaCppWorker(request)
    raise ValueError(f"[bench] library {request['library']!r}, expected torch or llama.cpp")


def resident_peak() -> int:
    """The highest resident memory of this process in bytes: libraries without counters."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(work, amount: float, synchronize=lambda: None) -> list:
    """[amount, seconds] of calling a function."""
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return [amount, time.perf_counter() - start]
