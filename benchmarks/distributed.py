"""Speed of all_sum() beside the bare calls of Open MPI or NCCL, on which it stands.

    python benchmarks/distributed.py
    python benchmarks/distributed.py -n 4 --megabytes 1
    python benchmarks/distributed.py --backend nccl --megabytes 1024    # needs PyTorch, two GPUs

It starts itself in several processes. They take turns: MPI_Allreduce, MPI_Iallreduce with polling,
or NCCL's call through PyTorch, and all_sum() of an array that stays, and of one that is
overwritten. Ratios above 1: narrows takes less time than the first of them.
"""

import argparse
import ctypes
import os
import statistics
import sys
import time

from narrows import launch


def mpi_calls(count: int):
    """A barrier, and the bare calls by name."""
    import numpy as np

    with open("/proc/self/maps") as maps:
        mpi = ctypes.CDLL(next(line.split()[-1] for line in maps if "libmpi" in line))
    world, floats, total = (
        ctypes.byref(ctypes.c_char.in_dll(mpi, f"ompi_mpi_{name}"))
        for name in ("comm_world", "float", "op_sum")
    )
    source, target = np.ones(count, np.float32), np.zeros(count, np.float32)

    def addresses():
        return [ctypes.c_void_p(values.ctypes.data) for values in (source, target)]

    def blocking():
        mpi.MPI_Allreduce(*addresses(), count, floats, total, world)

    def polling():
        request, done = ctypes.c_void_p(), ctypes.c_int()
        mpi.MPI_Iallreduce(*addresses(), count, floats, total, world, ctypes.byref(request))
        while not done.value:
            mpi.MPI_Test(ctypes.byref(request), ctypes.byref(done), None)

    def barrier():
        mpi.MPI_Barrier(world)

    return barrier, {"MPI_Allreduce": blocking, "MPI_Iallreduce": polling}


def nccl_calls(count: int, group):
    """The same, by PyTorch. Both use one NCCL library."""
    import narrows.core as mx
    import torch
    import torch.distributed as peer

    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    place = f"tcp://{os.environ['MASTER_ADDR']}:{int(os.environ['MASTER_PORT']) + 1}"
    peer.init_process_group("nccl", place, rank=group.rank(), world_size=group.size())
    values = torch.ones(count, device="cuda")

    def bare():
        peer.all_reduce(values)
        torch.cuda.synchronize()

    def barrier():
        mx.eval(mx.distributed.all_sum(mx.array(1.0)))

    return barrier, {"ncclAllReduce (PyTorch)": bare}


def own_calls(count: int):
    import narrows.core as mx

    x = mx.ones(count)
    mx.eval(x)

    def kept():
        mx.eval(mx.distributed.all_sum(x))

    def overwritten():
        nonlocal x
        y, x = x, None
        x = mx.distributed.all_sum(y) * 0.5
        del y
        mx.eval(x)

    return {"all_sum": kept, "all_sum * 0.5 in place": overwritten}


def measure(megabytes: float, rounds: int, backend: str) -> None:
    import narrows.core as mx

    group = mx.distributed.init(strict=True)
    if backend == "nccl":
        mx.set_default_device(mx.gpu)
    count = int(megabytes * 2**20) // 4
    barrier, functions = nccl_calls(count, group) if backend == "nccl" else mpi_calls(count)
    first = next(iter(functions))
    functions |= own_calls(count)
    seconds = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            barrier()
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    if group.rank() == 0:
        bare = statistics.median(seconds[first][1:])
        for name, all_seconds in seconds.items():
            ordered = sorted(all_seconds[1:])
            middle = statistics.median(ordered)
            print(
                f"{name:24} {1e3 * middle:8.2f} ms  ({1e3 * ordered[0]:.2f} to "
                f"{1e3 * ordered[-1]:.2f})  ratio {bare / middle:.2f}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=2)
    parser.add_argument("--megabytes", type=float, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--backend", choices=["mpi", "nccl"], default="mpi")
    parser.add_argument("--inside", action="store_true", help="used by the program itself")
    options = parser.parse_args()
    if options.inside:
        measure(options.megabytes, options.rounds, options.backend)
        return 0
    own = [__file__, "--inside", *sys.argv[1:]]
    return launch.main(["-n", str(options.n), "--backend", options.backend, *own])


if __name__ == "__main__":
    sys.exit(main())
