#include "narrows/observe/profile.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/define.h"
#include "bindings/files.h"

namespace narrows::python {
namespace {

// `with profile(path) as p`: the record can still be read behind the block.
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
          dedented(R"(The steps that have run so far, in the order in which they ended.

          Each is a dict. op, inputs and outputs (as '(2, 3) float32'), and stream say what ran.
          start and duration are in seconds; start counts from that of the scope. device_duration
          is the device's own time where its backend tells it, else 0. allocated_bytes counts new
          buffers and workspace. running_bytes is the active memory while it ran, live_bytes that
          after it. origin is '' where it was not traced.
          )")
              .c_str())
      .def(
          "summary",
          [](const ProfileScope& self) { return summary_text(*self.profile); },
          dedented(R"(A table with a line for each operation, the one that took most time first.

          Returns:
            How often each ran, its time, its share of all time, and the bytes that it allocated,
            as text.

          Example:
            >>> with mx.profile() as profile:
            ...     mx.eval(mx.ones(3).sum())
            >>> text = profile.summary()
          )")
              .c_str())
      .def(
          "to_json",
          [](const ProfileScope& self, nb::handle file) {
            return text_or_file(trace_json(*self.profile), file);
          },
          "file"_a = nb::none(),
          nb::sig("def to_json(self, file: object | None = None) -> str | None"),
          dedented(R"(The steps as trace events, which chrome://tracing and Perfetto show.

          There is a track for each stream and thread, and one of active memory.

          Args:
            file: Where the text is written: a path, or an object with write(). None: it is
              returned.

          Returns:
            The text, or None if it was written.

          Raises:
            OSError: If the file cannot be written.

          Example:
            >>> with mx.profile() as profile:
            ...     mx.eval(mx.ones(3).sum())
            >>> text = profile.to_json()
          )")
              .c_str())
      .def("__repr__", [](const ProfileScope& self) {
        return concat_message("Profile(", self.profile->steps().size(), " steps)");
      });
  define<"profile(path: object | None = None) -> Profile">(
      m,
      [](nb::object path) { return ProfileScope{std::move(path)}; },
      R"(A scope that records the time and the bytes of every step that runs in it, on any thread.

      Leaving it waits for asynchronous work in flight, which still belongs to it. Scopes may nest
      or overlap: each has all steps of its own time. A profile that is entered again begins anew.

      Args:
        path: Where `to_json()` is written at the end: a path, or an object with write(). None
          writes nothing.

      Returns:
        A context manager; `with` gives it a name.

      Raises:
        RuntimeError: If a profile is entered twice at once.

      Example:
        >>> with mx.profile() as profile:
        ...     mx.eval(mx.ones(3).sum())
        >>> profile.steps[-1]["outputs"]
        ['() float32']
      )");
}

const Binding binding{&bind_profile};

} // namespace
} // namespace narrows::python
