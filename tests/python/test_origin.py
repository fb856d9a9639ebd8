"""Where operations were recorded: set_trace_origin() and NARROWS_TRACE_ORIGIN."""

import inspect
import os
import subprocess
import sys

import narrows.core as mx
import pytest

pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture
def traced():
    previous = mx.set_trace_origin(True)
    yield
    mx.set_trace_origin(previous)


def line_here(offset=0):
    return f"{__file__}:{inspect.currentframe().f_back.f_lineno + offset}"


def test_switch():
    previous = mx.set_trace_origin(True)
    assert mx.set_trace_origin(False) is True
    assert mx.set_trace_origin(previous) is False


def test_plans_show_lines(traced):
    a = mx.ones((1000,))
    at_a = line_here(-1)
    b = mx.exp(
        a,
    )
    at_b = line_here(-3)
    plan = mx.plan(b)
    assert [step.origin for step in plan.steps][0] == at_a
    # A call of several lines is recorded at one of them.
    file, line = plan.steps[1].origin.rsplit(":", 1)
    assert file == __file__ and 0 <= int(line) - int(at_b.rsplit(":", 1)[1]) <= 2
    assert f"(recorded at {at_a})" in str(plan).split("alive at step")[1]
    assert plan.alive_at_peak[0]["origin"] == at_a


def test_nothing_is_remembered_without_it():
    previous = mx.set_trace_origin(False)
    plan = mx.plan(mx.ones((8,)) + 1)
    mx.set_trace_origin(previous)
    assert {step.origin for step in plan.steps} == {""}
    assert "recorded at" not in str(plan)


def test_turning_it_off_keeps_what_is_known(traced):
    a = mx.ones((8,))
    at = line_here(-1)
    mx.set_trace_origin(False)
    assert [step.origin for step in mx.plan(a + 1).steps] == [at, ""]


def test_frames_of_the_package_are_left_out(traced, tmp_path):
    code = compile("def make(mx):\n    return mx.ones((4,))\n", "", "exec")
    inside = os.path.join(os.path.dirname(sys.modules["narrows"].__file__), "nn", "layer.py")
    for name, expected in [(inside, __file__), ("outside.py", "outside.py")]:
        scope = {}
        exec(code.replace(co_filename=name), scope)
        make = scope["make"]
        make.__code__ = make.__code__.replace(co_filename=name)
        a = make(mx)
        assert mx.plan(a).steps[0].origin.rsplit(":", 1)[0] == expected


def test_names_that_are_no_text(traced):
    scope = {}
    exec(compile("def make(mx):\n    return mx.ones((4,))\n", "bad\udcff.py", "exec"), scope)
    plan = mx.plan(scope["make"](mx))
    assert plan.steps[0].origin == "bad\\udcff.py:2"
    assert "bad" in plan.to_json() and "bad" in plan.to_html()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_errors_name_the_line(traced, memory, asynchronous):
    mx.set_memory_limit(1 << 26, strict=True)
    a = mx.ones((1 << 28,))
    at = line_here(-1)
    b = a + 1
    if asynchronous:
        mx.async_eval(b)
    for _ in range(2):
        with pytest.raises(MemoryError) as error:
            mx.eval(b)
        assert str(error.value).startswith("[full] cannot allocate ")
        assert str(error.value).endswith(f" (recorded at {at})")
        assert str(error.value).count("recorded at") == 1
    if asynchronous:
        with pytest.raises(MemoryError):
            mx.synchronize()


def test_errors_are_as_ever_without_it(memory):
    previous = mx.set_trace_origin(False)
    mx.set_memory_limit(1 << 26, strict=True)
    with pytest.raises(MemoryError) as error:
        mx.eval(mx.ones((1 << 28,)))
    mx.set_trace_origin(previous)
    assert "recorded at" not in str(error.value)


def test_derivatives_come_from_the_line_of_the_function(traced):
    def function(w):
        return mx.sum(mx.exp(w))

    line = f"{__file__}:{function.__code__.co_firstlineno + 1}"
    steps = mx.plan(mx.grad(function)(mx.ones((4,)))).steps
    assert line in {step.origin for step in steps if step.op != "full"}
    x = mx.ones((2, 4))
    assert line in {step.origin for step in mx.plan(mx.vmap(function)(x)).steps}


def test_errors_of_rules_name_the_line(traced):
    def function(w):
        return mx.sum(fails(w))

    @mx.custom_function
    def fails(w):
        return mx.exp(w)

    @fails.vjp
    def fails_vjp(primals, cotangents, outputs):
        return mx.zeros((7,))

    with pytest.raises(ValueError) as error:
        mx.grad(function)(mx.ones((4,)))
    assert str(error.value).count("recorded at") == 1
    assert f"{__file__}:{function.__code__.co_firstlineno + 1}" in str(error.value)


@pytest.mark.parametrize("value, expected", [(None, False), ("", False), ("0", False), ("1", True)])
def test_environment(value, expected):
    environment = {k: v for k, v in os.environ.items() if k != "NARROWS_TRACE_ORIGIN"}
    if value is not None:
        environment["NARROWS_TRACE_ORIGIN"] = value
    code = "import narrows.core as mx; print(mx.set_trace_origin(True))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert run.stdout.split() == [str(expected).encode()]
