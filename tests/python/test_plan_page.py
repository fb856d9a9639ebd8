"""Plan.to_html(): the page, in a real browser where there is one."""

import html
import io
import json
import re
import shutil
import subprocess

import narrows.core as mx
import pytest

pytestmark = pytest.mark.usefixtures("every_node_is_a_step")

BROWSER = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
needs_browser = pytest.mark.skipif(
    not BROWSER,
    reason="there is no chromium, chromium-browser or google-chrome to show the page in",
)

# Texts that would break the page if they were not escaped.
HOSTILE = [
    "</script><script>document.title = 'broken'</script>",
    "<!--<script>",
    "&lt;\u2028'\"\\",
    "名",
]


def hostile_plan():
    arrays = {name: mx.ones((4,)) for name in HOSTILE}
    return mx.plan(sum(arrays.values(), mx.zeros((4,))), **arrays)


def wide_plan(steps):
    arrays = [mx.zeros((1024,), mx.int64).astype(mx.int8) for _ in range(steps // 2)]
    with mx.bfs_max_width(7):
        return mx.plan(arrays)


def data_in(page):
    return json.loads(re.search(r'id="plan-data">(.*?)</script>', page, re.S)[1])


def test_the_page_carries_the_plan():
    plan = wide_plan(40)
    page = plan.to_html()
    data = data_in(page)
    assert data == json.loads(plan.to_json())
    assert len(data["steps"]) == 40 and data["order"] == "width 7"
    assert "PLAN_JSON" not in page


def test_it_needs_nothing_beside_itself():
    page = mx.plan(mx.ones((4,)) + 1).to_html()
    assert not re.search(r"\b(src|href|@import|url)\s*[=(]", page)
    assert "default-src 'none'" in page


def test_names_cannot_break_the_page():
    page = hostile_plan().to_html()
    assert page.count("</script>") == 2 and "<!--" not in page
    assert set(HOSTILE) <= {array["name"] for array in data_in(page)["arrays"]}


def test_writing(tmp_path):
    plan = hostile_plan()
    path = tmp_path / "plan.html"
    stream = io.StringIO()
    assert plan.to_html(path) is None and plan.to_html(stream) is None
    assert path.read_text(encoding="utf-8") == stream.getvalue() == plan.to_html()


def test_orders_are_those_that_their_scopes_plan():
    arrays = [mx.zeros((1 << 14,), mx.int64).astype(mx.int8) for _ in range(50)]
    orders = {order["name"]: order for order in json.loads(mx.plan(arrays).to_json())["orders"]}
    assert list(orders) == ["width 1", "width 20", "width unlimited", "memory"]
    for name, scope in [
        ("width 1", mx.bfs_max_width(1)),
        ("width 20", mx.bfs_max_width(20)),
        ("width unlimited", mx.bfs_max_width(1 << 60)),
        ("memory", mx.order_policy("memory")),
    ]:
        with scope:
            plan = mx.plan(arrays)
        assert orders[name]["predicted_peak"] == plan.predicted_peak
        assert orders[name]["peak_bytes"] == [step.peak_bytes for step in plan.steps]
    assert orders["width 1"]["predicted_peak"] < orders["width unlimited"]["predicted_peak"]


# Runs in the page and tells what it finds.
PROBE = """
<script>
"use strict";
const results = { errors: [] };
window.addEventListener("error", (event) => results.errors.push(String(event.message)));
function painted(canvas, name) {
  const wanted = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const rgb = [1, 3, 5].map((i) => parseInt(wanted.slice(i, i + 2), 16));
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 100 && rgb.every((value, k) => Math.abs(data[i + k] - value) < 8)) {
      columns.add((i / 4) % width);
    }
  }
  return columns.size / width;
}
function move(x, y) {
  const box = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove",
    { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true }));
}
function key(target, name) {
  target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
}
setTimeout(() => {
  results.title = document.title;
  results.curve = painted(chart, "plan");
  results.peak = painted(chart, "peak");
  results.compared = painted(chart, "order0");
  results.edges = painted(edges, "edge");
  results.hidden = tooltip.hidden;
  move(0.5, 0.5);
  results.hover = tooltip.innerText;
  results.hoverVisible = !tooltip.hidden && tooltip.getBoundingClientRect().height > 20;
  chart.focus();
  key(chart, "Home");
  results.first = tooltip.innerText;
  key(chart, "ArrowRight");
  results.second = tooltip.innerText;
  key(chart, "End");
  results.last = tooltip.innerText;
  results.rows = document.querySelectorAll(".row").length;
  results.chosenRow = document.querySelector(".row.chosen")?.innerText;
  key(chart, "p");
  results.atPeak = tooltip.innerText;
  results.detail = detail.innerText;
  results.alive = document.getElementById("alive").innerText;
  results.legend = legend.innerText;
  results.facts = facts.innerText;
  list.focus();
  key(list, "Home");
  results.listHome = document.querySelector(".row.chosen").innerText;
  filter.value = "no such operation";
  filter.dispatchEvent(new Event("input"));
  results.filtered = document.querySelectorAll(".row").length;
  results.wide = document.documentElement.scrollWidth > innerWidth;
  document.body.append(Object.assign(document.createElement("pre"),
    { id: "results", textContent: JSON.stringify(results) }));
}, 500);
</script>
"""


def shown_dom(page, tmp_path, size="1280,900"):
    """The document once the browser has shown the page, and what the browser complained of."""
    path = tmp_path / "plan.html"
    path.write_text(page, encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'browser'}",
        f"--window-size={size}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        path.as_uri(),
    ]
    run = subprocess.run(command, capture_output=True, timeout=180)
    return run.stdout.decode(), run.stderr.decode()


def probe(plan, tmp_path, size="1280,900"):
    """What the page shows, as the probe finds it."""
    page = plan.to_html().replace("</body>", PROBE + "</body>")
    dom, errors = shown_dom(page, tmp_path, size)
    found = re.search(r'<pre id="results">(.*?)</pre>', dom, re.S)
    assert found, errors[-2000:]
    return json.loads(html.unescape(found[1]))


@needs_browser
@pytest.mark.parametrize("size", ["1280,900", "520,800"])
def test_shown_in_a_browser(tmp_path, size):
    previous = mx.set_trace_origin(True)
    x = mx.ones((256, 256))
    layers = [mx.exp(x * i) @ x for i in range(8)]
    plan = mx.plan(loss=mx.sum(sum(layers[1:], layers[0]), axis=0), x=x)
    mx.set_trace_origin(previous)
    shown = probe(plan, tmp_path, size)
    assert shown["errors"] == [] and shown["title"] == "Plan"
    assert shown["curve"] > 0.6 and 0.005 < shown["peak"] < 0.6
    assert shown["compared"] > 0.1 and shown["edges"] > 0.1
    assert shown["hidden"] and shown["hoverVisible"]
    assert re.match(r"step \d+: \w+\n", shown["hover"]) and __file__ in shown["hover"]
    first, last = plan.steps[0], plan.steps[-1]
    assert shown["first"].startswith("step 0: full\nx (256, 256) float32\n")
    assert shown["second"].startswith(f"step 1: {plan.steps[1].op}\n")
    assert shown["last"].startswith(f"step {len(plan) - 1}: {last.op}\nloss (256,) float32\n")
    assert last.origin in shown["last"] and first.origin in shown["first"]
    assert shown["atPeak"].startswith(f"step {plan.peak_step}: ")
    assert shown["detail"].startswith(f"Step {plan.peak_step}: ")
    assert f"Alive at the peak, step {plan.peak_step}" in shown["alive"]
    assert plan.alive_at_peak[0]["name"] in shown["alive"]
    assert "width 20 order (this plan)" in shown["legend"]
    assert all(name in shown["legend"] for name in ["width 1", "width unlimited", "memory"])
    assert 5 < shown["rows"] <= len(plan) and shown["filtered"] == 0
    assert shown["chosenRow"].split()[:2] == [str(len(plan) - 1), last.op]
    assert shown["listHome"].split()[0] == "0"
    assert not shown["wide"]  # nothing sticks out to the side


@needs_browser
def test_large_plans_stay_usable(tmp_path):
    plan = wide_plan(10_000)
    shown = probe(plan, tmp_path)
    assert shown["errors"] == []
    assert shown["curve"] > 0.6
    assert shown["rows"] < 100  # those in sight
    assert shown["last"].startswith("step 9999: ")
    assert shown["atPeak"].startswith(f"step {plan.peak_step}: ")
    assert "10,000" in shown["facts"]


@needs_browser
def test_hostile_names_in_a_browser(tmp_path):
    shown = probe(hostile_plan(), tmp_path)
    assert shown["errors"] == [] and shown["title"] == "Plan"
    assert HOSTILE[0] in shown["first"] + shown["second"] + shown["alive"]


@needs_browser
def test_a_plan_without_steps(tmp_path):
    a = mx.ones((4,))
    mx.eval(a)
    dom, _ = shown_dom(mx.plan(a).to_html(), tmp_path)
    assert "Nothing to evaluate" in dom
