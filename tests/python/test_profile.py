"""mx.profile: what each step of evaluations took."""

import gc
import io
import json
import threading
import time

import narrows.core as mx
import pytest

pytestmark = pytest.mark.usefixtures("every_node_is_a_step", "on_cpu")


def ops(profile):
    return [step["op"] for step in profile.steps]


def test_records_the_steps_of_evaluations():
    before = mx.exp(mx.ones((4,)))
    mx.eval(before)
    a = mx.ones((256, 4))
    with mx.profile() as p:
        mx.eval(mx.exp(a).T.sum(axis=0))
    mx.eval(mx.sin(a))
    assert ops(p) == ["full", "exp", "transpose", "sum"]
    full, exp, transpose, total = p.steps
    assert full["outputs"] == exp["inputs"] == ["(256, 4) float32"]
    assert total["inputs"] == ["(4, 256) float32"] and total["outputs"] == ["(256,) float32"]
    assert [step["allocated_bytes"] for step in p.steps][:3] == [4096, 4096, 0]
    assert total["allocated_bytes"] >= 1024
    assert {step["stream"] for step in p.steps} == {mx.default_stream(mx.cpu)}
    assert all(step["start"] >= 0 and step["duration"] >= 0 for step in p.steps)
    assert [step["start"] for step in p.steps] == sorted(step["start"] for step in p.steps)


def test_bytes_are_those_of_the_counters(memory):
    a, b = mx.random.normal((64, 1 << 10)), mx.random.normal((1 << 10, 64))
    mx.eval(a, b)
    gc.collect()
    with mx.profile() as p:
        mx.reset_peak_memory()
        c = mx.softmax((a @ b).T @ a, axis=0)
        mx.eval(c)
    assert max(step["running_bytes"] for step in p.steps) == mx.get_peak_memory()
    assert p.steps[-1]["live_bytes"] == mx.get_active_memory()


def test_trace_events(tmp_path, memory):
    path = tmp_path / "trace.json"
    previous = mx.set_trace_origin(True)
    second = mx.new_stream(mx.cpu)
    with mx.profile(path) as p:
        mx.eval(mx.ones((8, 2)) + 1)
        mx.async_eval(mx.exp(mx.zeros((3,)), stream=second))
    mx.set_trace_origin(previous)
    trace = json.loads(path.read_text())
    assert path.read_text() == p.to_json()
    events = trace["traceEvents"]
    steps = [e for e in events if e["ph"] == "X"]
    assert sorted(e["name"] for e in steps) == ["add", "exp", "full", "full"]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 and e["pid"] == 1 for e in steps)
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {tracks[e["tid"]].split(", thread")[0] for e in steps if e["name"] == "exp"} == {
        str(second)
    }
    assert all(tracks[e["tid"]].startswith(e["args"]["stream"]) for e in steps)
    add = next(e for e in steps if e["name"] == "add")
    assert add["args"]["outputs"] == ["(8, 2) float32"]
    assert add["args"]["origin"].startswith(__file__ + ":")
    counters = [e for e in events if e["ph"] == "C"]
    assert all(e["name"].startswith("active memory") for e in counters) and counters
    assert len(counters) == 2 * len(steps)
    assert [e["ts"] for e in counters] == sorted(e["ts"] for e in counters)


def test_leaving_waits_for_asynchronous_work():
    a = mx.ones((1 << 16,))
    with mx.profile() as p:
        for _ in range(50):
            a = mx.sin(a)
        mx.async_eval(a)
    assert ops(p).count("sin") == 50


def test_scopes_nest_and_overlap():
    first, second = mx.profile(), mx.profile()
    with first:
        mx.eval(mx.ones((2,)))
        with second:
            mx.eval(mx.exp(mx.array([1.0])))
        mx.eval(mx.sin(mx.array([1.0])))
    assert ops(first) == ["full", "exp", "sin"]
    assert ops(second) == ["exp"]


def test_repeated_scopes_begin_anew():
    p = mx.profile()
    for function in [mx.exp, mx.sin]:
        with p:
            mx.eval(function(mx.array([1.0])))
        assert ops(p) == [function.__name__]
    with p:
        with pytest.raises(RuntimeError, match="running already"):
            p.__enter__()
        mx.eval(mx.cos(mx.array([1.0])))
    assert ops(p) == ["cos"]


def test_errors_end_the_scope(tmp_path, memory):
    mx.set_memory_limit(1 << 26, strict=True)
    path = tmp_path / "trace.json"
    a = mx.exp(mx.array([1.0]))
    with pytest.raises(MemoryError), mx.profile(path) as p:
        mx.eval(a)
        mx.eval(mx.ones((1 << 28,)))
    mx.eval(mx.sin(a))
    assert ops(p) == ["exp"]  # what failed has not run
    assert len(json.loads(path.read_text())["traceEvents"]) > 2
    with pytest.raises(OSError), mx.profile(tmp_path / "missing" / "trace.json") as p:
        mx.eval(mx.cos(a))
    assert ops(p) == ["cos"]


def test_all_threads_are_recorded():
    def work():
        for i in range(20):
            mx.eval(mx.sin(mx.array(float(i))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with mx.profile() as p:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ops(p) == ["sin"] * 80
    events = json.loads(p.to_json())["traceEvents"]
    tracks = {}
    for event in events:
        if event["ph"] == "X":
            tracks.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in tracks.values():  # on one track, no step starts before the one before it has ended
        spans.sort()
        assert all(a[1] <= b[0] + 0.002 for a, b in zip(spans, spans[1:]))


def test_summary(memory):
    with mx.profile() as p:
        for _ in range(3):
            mx.eval(mx.exp(mx.ones((1 << 18,))))
    head, *rows, total = p.summary().splitlines()
    assert head.split()[:2] == ["op", "steps"]
    table = {row.split()[0]: row.split()[1:] for row in rows}
    assert table["full"][0] == "3" and float(table["full"][-1]) == pytest.approx(3 * 1.048576, 1e-3)
    assert table["exp"][0] == "3" and float(table["exp"][-1]) == 0  # overwrites its input
    assert total.split()[:2] == ["all", "6"]
    times = [float(row.split()[2]) for row in rows]
    assert times == sorted(times, reverse=True)


def test_empty_profiles():
    with mx.profile() as p:
        pass
    assert p.steps == [] and p.summary().splitlines()[-1].split()[1] == "0"
    stream = io.StringIO()
    assert p.to_json(stream) is None
    assert [e["ph"] for e in json.loads(stream.getvalue())["traceEvents"]] == ["M"]
    assert repr(p) == "Profile(0 steps)"


@pytest.mark.skipif(not mx.cuda.is_available(), reason="there is no NVIDIA GPU")
def test_times_of_the_device():
    x = mx.random.normal((1 << 26,), stream=mx.gpu)
    mx.eval(x)
    with mx.profile() as p:
        begin = time.perf_counter()
        for _ in range(3):
            mx.eval(mx.sum(mx.exp(x, stream=mx.gpu), stream=mx.gpu))
        elapsed = time.perf_counter() - begin
    assert ops(p) == ["exp", "sum"] * 3
    times = [step["device_duration"] for step in p.steps]
    assert min(times) > x.nbytes / 50e12  # no memory moves 50 TB/s
    assert sum(times) < elapsed
