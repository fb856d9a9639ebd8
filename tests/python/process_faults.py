"""Processes that die, stay away or are interrupted; test_processes.py starts them.

Those that live print the error that they got, and how long it took.
"""

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time

import narrows.core as mx

distributed = mx.distributed


def report(group, call):
    begin = time.monotonic()
    try:
        call()
        outcome = "no error"
    except (RuntimeError, KeyboardInterrupt) as error:
        outcome = f"{type(error).__name__} {error}"
    seconds = time.monotonic() - begin
    print(f"<{group.rank()}: {outcome} ({seconds:.1f} s)>", flush=True)


def total(group):
    report(group, lambda: mx.eval(distributed.all_sum(mx.ones((4,)))))


def killed(group):
    """The last process dies; then others fail at once."""
    if group.rank() == group.size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    total(group)
    total(group)


def killed_in_async(group):
    """The same in an evaluation behind the program."""
    if group.rank() == group.size() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    x = distributed.all_sum(mx.ones((4,)))
    mx.async_eval(x)
    report(group, lambda: mx.eval(x))


def late(group):
    """One process comes too late."""
    if group.rank() == 1:
        time.sleep(6)
    total(group)


def ended(group):
    """One process has come to its end, and the others learn it long before the timeout."""
    if group.rank() != 1:
        total(group)


def no_receiver(group):
    """Nobody receives."""
    if group.rank() == 0:
        report(group, lambda: mx.eval(distributed.send(mx.ones((4,)), 1)))
    else:
        time.sleep(4)


def split_alone(group):
    """Only one process splits the group."""
    if group.rank() == 0:
        report(group, lambda: group.split(0))
    else:
        time.sleep(4)


def interrupted(group):
    """Ctrl-C while the others do not come."""
    if group.rank() == 0:
        threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        total(group)
        total(group)
    else:
        time.sleep(4)


def forked(group):
    """A child has no part in the groups of its parent, and its end is not the group's."""
    rank = group.rank()
    child = os.fork()
    if child == 0:
        try:
            distributed.all_sum(mx.ones((4,)))
        except RuntimeError as error:
            print(f"<{rank}: {error}>", flush=True)
        sys.exit(0)
    os.waitpid(child, 0)
    total(group)


def mixed(group):
    """One process sends while the other adds up; then both add up."""
    if group.rank() == 0:
        report(group, lambda: mx.eval(distributed.send(mx.ones((4,)), 1)))
    else:
        total(group)
    total(group)
    total(group)


def strangers(group):
    """What others send to the port where processes meet is dropped."""
    total(group)
    hello = b"narrows1" + struct.pack("<qiid", 0, 1, 2, 60.0)
    wrong_rank = b"narrows1" + struct.pack("<qiid", 0, 7, 2, 60.0)
    wrong_group = b"narrows1" + struct.pack("<qiid", 5, 0, 2, 60.0)
    if group.rank() == 1:
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        for sent in (b"", b"GET / HTTP/1.1", hello, wrong_rank, wrong_group, os.urandom(1 << 16)):
            with socket.create_connection(address) as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(sent)
    mx.eval(distributed.all_sum(mx.ones((4,))))


def handlers(group):
    """MPI leaves the handlers of signals as they are."""
    kept = signal.getsignal(signal.SIGSEGV) == signal.SIG_DFL
    status = open("/proc/self/status").read()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    segv = bool(caught >> (signal.SIGSEGV - 1) & 1)
    print(f"<{group.rank()}: {kept} {segv}>", flush=True)


if __name__ == "__main__":
    case, timeout = sys.argv[1], float(sys.argv[2])
    globals()[case](distributed.init(strict=True, timeout=timeout))
