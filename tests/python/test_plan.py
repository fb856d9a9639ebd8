"""mx.plan, mx.print_graph and mx.export_to_dot: all format the plan that eval would run."""

import io
import json

import narrows.core as mx
import pytest

pytestmark = pytest.mark.usefixtures("every_node_is_a_step")


def casts(count=100):
    arrays = [mx.zeros((4096, 128), mx.int64) for _ in range(count)]
    return [x.astype(mx.int8) for x in arrays]


@pytest.mark.parametrize("width", [1, 7, 20, 1000])
def test_predicted_peak_is_the_measured_one(width):
    with mx.bfs_max_width(width):
        arrays = casts()
        plan = mx.plan(arrays)
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(arrays)
    assert mx.get_peak_memory() == plan.predicted_peak
    assert plan.active_before == before
    assert plan.live_bytes[-1] == mx.get_active_memory()
    wide = min(width, 100)
    assert plan.predicted_peak - before == wide * 2**22 + (101 - wide) * 2**19


def test_steps_tell_what_happens_to_bytes():
    a = mx.ones((256, 4))
    mx.eval(a)
    plan = mx.plan(mx.exp(a).T.sum(axis=0))
    assert [step.op for step in plan.steps] == ["exp", "transpose", "sum"]
    exp, transpose, total = plan.steps
    assert (exp.allocated_bytes, exp.freed_bytes) == (4096, 0)
    assert (transpose.allocated_bytes, transpose.freed_bytes) == (0, 0)
    assert (total.allocated_bytes, total.freed_bytes) == (1024, 4096)
    assert exp.inputs == ["A"] and exp.outputs == ["B"]
    assert plan.peak_step == 2
    assert len(plan) == 3


def test_planning_computes_nothing():
    a = mx.exp(mx.ones((4,)))
    before = mx.get_active_memory()
    first, second = mx.plan(a), mx.plan(a)
    assert str(first) == str(second)
    assert mx.get_active_memory() == before
    mx.eval(a)
    assert len(mx.plan(a)) == 0


def test_text_shows_each_step_with_its_bytes(on_cpu):
    text = str(mx.plan(result=mx.ones((1024,)) + 1.0))
    head, first, second, alive, *rows = text.splitlines()
    assert head.startswith("2 steps, predicted peak ")
    assert "A (1024,) float32 = full" in first
    assert second.endswith("result (1024,) float32 = add A, 1 (donated)")
    assert alive == "alive at step 0:"
    # A row for what other tests hold may follow.
    assert rows[0].split("MB")[1].strip() == "A (1024,) float32"


def test_print_graph(capsys, on_cpu):
    a = mx.array([1.0, 2.0])
    mx.print_graph(mx.sum(mx.exp(a) * a, axis=0), a=a)
    assert capsys.readouterr().out.splitlines() == [
        "B (2,) float32 = exp a",
        "C (2,) float32 = multiply B, a",
        "D () float32 = sum C [axes=(0)]",
    ]


def test_export_to_dot_writes_to_paths_and_files(tmp_path):
    a = mx.array([1.0, 2.0])
    out = a.exp()
    path = tmp_path / "graph.dot"
    mx.export_to_dot(str(path), out, a=a)
    stream = io.StringIO()
    mx.export_to_dot(stream, out, a=a)
    assert path.read_text() == stream.getvalue() == mx.plan(out, a=a).to_dot()
    assert stream.getvalue().startswith("digraph {")
    assert '"a\\n(2,) float32"' in stream.getvalue()


def test_json_has_arrays_and_steps(tmp_path, on_cpu):
    plan = mx.plan(mx.zeros((2, 3), mx.int16) + 1)
    data = json.loads(plan.to_json())
    assert data["predicted_peak"] == plan.predicted_peak
    assert [step["op"] for step in data["steps"]] == ["full", "add"]
    assert data["arrays"][0] == {
        "name": "A",
        "shape": [2, 3],
        "dtype": "int16",
        "bytes": 12,
        "kind": "allocated",
        "origin": "",
    }
    path = tmp_path / "plan.json"
    assert plan.to_json(path) is None
    assert json.loads(path.read_text()) == data


def test_deep_graphs():
    x = mx.zeros((1,))
    for _ in range(200_000):
        x = -x
    stream = io.StringIO()
    mx.export_to_dot(stream, x)
    assert stream.getvalue().count("negative") == 200_000
