"""A plugin that runs each test while every n-th allocation fails: make test-faults.

    python -m pytest -p faults --fail-allocation-every=7     (with tests/python in PYTHONPATH)

Of a test with many cases some are run, others for each n. A test is run as it is, then with
failures, then as it is again. With failures nothing but MemoryError may end it; afterwards no
memory and no pending work may be left that was not there before, and the last run has to pass.
"""

import gc
import shutil
import traceback

import narrows.core as mx
import pytest

# Tests that cannot be run so, and why.
EXCLUDED = {
    "test_faults.py": "lets allocations fail itself",
    "test_soak": "one failure ends the loop; takes long",
    "test_compile.py::test_errors": "keeps an array of a trace, with a constant",
    "test_custom_function.py::test_vjp": "keeps lazy arrays of a rule in the rule: a cycle",
    "test_consumers_that_cannot_walk_strides": "bytes.join() makes a TypeError of any error",
    "test_trace_events": "asks for no value of what it evaluates asynchronously",
    "test_all_threads_are_recorded": "what its threads raise ends only them",
    "test_tools.py": "allocates nothing",
    "test_mlx.py": "other processes do the work",
    "test_processes.py": "other processes do the work",
    "test_docs.py": "examples change settings, and report errors as text",
    "test_signatures.py": "looks at parameters, not at values",
    "test_stubs.py": "allocates nothing",
    "test_msl_check.py": "allocates nothing",
}

# Of one test. All of them, three times for each n, would take hours.
MOST_CASES = 5


def pytest_addoption(parser):
    parser.addoption("--fail-allocation-every", type=int, default=0, metavar="N")


def pytest_configure(config):
    config.counts = {"tests": 0, "failed with MemoryError": 0, "allocations failed": 0}


def pytest_collection_modifyitems(config, items):
    """Keeps the same share of each test's cases, spread over all of them."""
    period = config.option.fail_allocation_every
    if not period:
        return
    cases = {}
    for item in items:
        cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    kept = []
    for of_test in cases.values():
        step = -(-len(of_test) // MOST_CASES)
        kept += of_test[period % step :: step]
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def pytest_collection_finish():
    gc.freeze()  # each collection would go over all that the tests consist of


def pytest_terminal_summary(terminalreporter, config):
    if config.option.fail_allocation_every:
        terminalreporter.write_line(f"faults: {config.counts}")


def settle():
    """Nothing runs any more, and nothing is held by cycles or caches."""
    gc.collect()
    for _ in range(4):
        try:
            mx.synchronize()
            break
        except MemoryError:
            pass  # each worker tells its error once
    gc.collect()
    mx.clear_cache()
    return mx.get_active_memory(), mx.get_pending_nodes()


def fixture_settings():
    """Calls that set again what fixtures have set for the test."""
    probes = [(mx.set_fusion, True), (mx.set_trace_origin, False), (mx.set_order_policy, "width")]
    return [(setter, setter(value)) for setter, value in probes]


def start_anew(settings, arguments):
    """Undoes the changes that a run, even one cut short, may have left."""
    mx.set_memory_limit(1 << 40)
    mx.set_auto_eval()
    mx.enable_compile()
    mx.random.seed(0)  # or else a sequence of keys that was begun is pending
    for setter, value in settings:
        setter(value)
    if "tmp_path" in arguments:
        shutil.rmtree(arguments["tmp_path"])
        arguments["tmp_path"].mkdir()


def is_memory_error(error):
    """Whether the test ended with, or because of, a MemoryError: threads hand over their text."""
    while error is not None:
        if isinstance(error, MemoryError) or "MemoryError" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def run_with_faults(function, arguments, period):
    """The error that the test ended with, if there is one, and how many allocations failed."""
    before = mx._allocation_faults()
    mx._set_allocation_faults(period)
    try:
        function(**arguments)
        error = None
    except BaseException as caught:
        error = caught
    finally:
        mx._set_allocation_faults(0)
    return error, mx._allocation_faults() - before


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    period = pyfuncitem.config.option.fail_allocation_every
    if not period:
        return None
    file, name = pyfuncitem.path.name, pyfuncitem.originalname
    for key in (file, name, f"{file}::{name}"):
        if key in EXCLUDED:
            pytest.skip(EXCLUDED[key])
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    settings = fixture_settings()
    start_anew(settings, arguments)
    pyfuncitem.obj(**arguments)
    start_anew(settings, arguments)
    before = settle()
    error, failed = run_with_faults(pyfuncitem.obj, arguments, period)
    start_anew(settings, arguments)
    counts = pyfuncitem.config.counts
    counts["tests"] += 1
    counts["allocations failed"] += failed
    if error is not None:
        counts["failed with MemoryError"] += 1
        if not is_memory_error(error):
            raise error
        traceback.clear_frames(error.__traceback__)
        error = None
    after = settle()
    assert after[0] <= before[0], f"{after[0] - before[0]} bytes are left"
    assert after[1] <= before[1], f"{after[1] - before[1]} pending nodes are left"
    pyfuncitem.obj(**arguments)
    return True
