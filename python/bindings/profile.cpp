#include "narrows/observe/profile.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/bindings.h"
#include "bindings/files.h"

namespace narrows::python {
namespace {

// with profile(path) as p: what was recorded stays readable after it.
struct ProfileScope {
  nb::object path;
  std::unique_ptr<Profile> profile = std::make_unique<Profile>();

  void stop() {
    nb::gil_scoped_release release;
    profile->stop();
  }
  void exit() {
    stop();
    if (!path.is_none()) {
      write_text(path, trace_json(*profile));
    }
  }
};

nb::dict step_dict(const ProfiledStep& step, int64_t started) {
  nb::dict row;
  row["op"] = step.op;
  row["inputs"] = step.inputs;
  row["outputs"] = step.outputs;
  row["stream"] = step.stream;
  row["start"] = static_cast<double>(step.start - started) / 1e9;
  row["duration"] = static_cast<double>(step.duration) / 1e9;
  row["device_duration"] = static_cast<double>(step.device_duration) / 1e9;
  row["allocated_bytes"] = step.allocated_bytes;
  row["running_bytes"] = step.running_bytes;
  row["live_bytes"] = step.live_bytes;
  row["origin"] = origin_text(step.origin);
  return row;
}

nb::list step_dicts(const ProfileScope& self) {
  const int64_t started = self.profile->started();
  nb::list rows;
  for (const ProfiledStep& step : self.profile->steps()) {
    rows.append(step_dict(step, started));
  }
  return rows;
}

void bind_profile(nb::module_& m) {
  nb::class_<ProfileScope>(m, "Profile", "What profile() returns: the steps that ran within it.")
      .def(
          "__enter__",
          [](nb::handle self) {
            nb::cast<ProfileScope&>(self).profile->start();
            return self;
          })
      .def("__exit__", [](ProfileScope& self, const nb::args&) { self.exit(); })
      .def_prop_ro(
          "steps",
          &step_dicts,
          nb::sig("def steps(self) -> list[dict]"),
          "The steps that have run so far, in the order in which they ended: dicts with op, inputs "
          "and outputs (as '(2, 3) float32'), stream, start and duration (seconds; start counts "
          "from that of the scope), device_duration (of the device where its backend tells, else "
          "0), allocated_bytes (new buffers and workspace), running_bytes (active memory while it "
          "ran), live_bytes (active memory after it) and origin ('' where it was not traced).")
      .def(
          "summary",
          [](const ProfileScope& self) { return summary_text(*self.profile); },
          "A table: for each operation how often it ran, its time, its share of all time, and the "
          "bytes it allocated; the one that took most time first.")
      .def(
          "to_json",
          [](const ProfileScope& self, nb::handle file) {
            return text_or_file(trace_json(*self.profile), file);
          },
          "file"_a = nb::none(),
          nb::sig("def to_json(self, file: object | None = None) -> str | None"),
          "The steps as trace events, which chrome://tracing and https://ui.perfetto.dev show: a "
          "track for each stream and thread, and one of active memory. Written to `file` (a path, "
          "or an object with write()) if one is given.")
      .def("__repr__", [](const ProfileScope& self) {
        return concat_message("Profile(", self.profile->steps().size(), " steps)");
      });
  m.def(
      "profile",
      [](nb::object path) { return ProfileScope{std::move(path)}; },
      "path"_a = nb::none(),
      nb::sig("def profile(path: object | None = None) -> Profile"),
      "with profile('trace.json') as p: records time and bytes of every step that an evaluation "
      "starts within the scope, on any thread. Leaving it waits for asynchronous work in flight, "
      "which still belongs to it, and writes p.to_json() to `path` (a path, or an object with "
      "write()) if one is given. Scopes may nest or overlap: each has all steps of its own time. A "
      "profile that is entered again begins anew; to enter it twice at once is a RuntimeError.");
}

const Binding binding{&bind_profile};

} // namespace
} // namespace narrows::python
