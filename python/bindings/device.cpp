#include "narrows/runtime/device.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include <atomic>
#include <deque>
#include <unordered_map>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/backend.h"

namespace narrows::python {
namespace {

// A device argument: a Device or its type.
Device to_device(const StreamArg& arg, const char* op) {
  if (const Device* device = std::get_if<Device>(&arg.where)) {
    return *device;
  }
  if (std::holds_alternative<std::monostate>(arg.where)) {
    return default_device();
  }
  fail<TypeError>("[", op, "] got a stream, expected a Device or DeviceType.");
}

// with stream(s): one scope for each time it is entered.
class StreamContext {
 public:
  explicit StreamContext(StreamArg where) : where_(std::move(where)) {
    StreamOrDevice(where_).stream();
  }
  StreamContext(StreamContext&&) = default;
  void enter() {
    scopes_.emplace_back(StreamOrDevice(where_).stream());
  }
  void exit() {
    scopes_.pop_back();
  }

 private:
  StreamArg where_;
  std::deque<StreamScope> scopes_;
};

ThreadLocalStream new_thread_local_stream(const StreamArg& where) {
  static std::atomic<int> next{0};
  const Device device = to_device(where, "new_thread_local_stream");
  default_stream(device);
  return {device, next++};
}

bool equals_device(const Device& a, nb::handle b) {
  Device device;
  Device::Type type;
  if (nb::try_cast(b, device)) {
    return a == device;
  }
  return nb::try_cast(b, type, false) && a == Device{type, 0};
}

void bind_classes(nb::module_& m) {
  nb::enum_<Device::Type>(m, "DeviceType", "Kinds of devices.")
      .value("cpu", Device::Type::cpu)
      .value("gpu", Device::Type::gpu)
      .export_values();
  nb::class_<Device>(m, "Device", "A device, on which operations run.")
      .def(
          "__init__",
          [](Device* self, Device::Type type, int index) {
            new (self) Device{type, index};
          },
          "type"_a,
          "index"_a = 0,
          "The `index`-th device of a type.")
      .def_ro("type", &Device::type, "Its DeviceType.")
      .def("__eq__", &equals_device, nb::arg().none())
      .def("__hash__", [](const Device& d) { return static_cast<int>(d.type) + 2 * d.index; })
      .def("__repr__", [](const Device& d) { return to_string(d); });
  nb::class_<Stream>(m, "Stream", "A queue of a device: its work runs in order.")
      .def_ro("device", &Stream::device, "The device it belongs to.")
      .def(
          "__eq__",
          [](const Stream& a, nb::handle b) {
            Stream other;
            return nb::try_cast(b, other) && a == other;
          },
          nb::arg().none())
      .def("__hash__", [](const Stream& s) { return s.index; })
      .def("__repr__", [](const Stream& s) { return to_string(s); });
  nb::class_<ThreadLocalStream>(
      m, "ThreadLocalStream", "Stands for a different stream in every thread that uses it.")
      .def_ro("device", &ThreadLocalStream::device, "The device its streams belong to.")
      .def("__repr__", [](const ThreadLocalStream& s) {
        return concat_message("ThreadLocalStream(", to_string(s.device), ", ", s.id, ")");
      });
  nb::class_<StreamContext>(m, "StreamContext", "What stream() returns.")
      .def("__enter__", [](StreamContext& self) { self.enter(); })
      .def("__exit__", [](StreamContext& self, const nb::args&) { self.exit(); });
}

} // namespace

Stream ThreadLocalStream::stream() const {
  thread_local std::unordered_map<int, Stream> streams;
  const auto found = streams.find(id);
  return found != streams.end() ? found->second
                                : streams.emplace(id, new_stream(device)).first->second;
}

StreamArg::operator StreamOrDevice() const {
  if (const Stream* stream = std::get_if<Stream>(&where)) {
    return *stream;
  }
  if (const Device* device = std::get_if<Device>(&where)) {
    return *device;
  }
  if (const ThreadLocalStream* stream = std::get_if<ThreadLocalStream>(&where)) {
    return stream->stream();
  }
  return {};
}

namespace {

void bind_device(nb::module_& m) {
  bind_classes(m);
  m.def("default_device", &default_device, "The device of operations that name none.");
  m.def(
      "set_default_device",
      [](const StreamArg& d) { set_default_device(to_device(d, "set_default_device")); },
      "device"_a,
      nb::sig("def set_default_device(device: Device | DeviceType) -> None"),
      "Sets the device of operations that name none. ValueError if it is not available.");
  m.def(
      "default_stream",
      [](const StreamArg& d) { return default_stream(to_device(d, "default_stream")); },
      "device"_a,
      nb::sig("def default_stream(device: Device | DeviceType) -> Stream"),
      "The stream of operations on the device that name none.");
  m.def(
      "set_default_stream",
      &set_default_stream,
      "stream"_a,
      "Makes `stream` its device's default stream.");
  m.def(
      "new_stream",
      [](const StreamArg& d) { return new_stream(to_device(d, "new_stream")); },
      "device"_a,
      nb::sig("def new_stream(device: Device | DeviceType) -> Stream"),
      "A new stream; work on different streams may overlap.");
  m.def(
      "new_thread_unsafe_stream",
      [](const StreamArg& d) { return new_stream(to_device(d, "new_thread_unsafe_stream")); },
      "device"_a,
      nb::sig("def new_thread_unsafe_stream(device: Device | DeviceType) -> Stream"),
      "A new stream, as new_stream(): all streams may be used from any thread.");
  m.def(
      "new_thread_local_stream",
      &new_thread_local_stream,
      "device"_a,
      nb::sig("def new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream"),
      "Stands for a new stream in every thread that uses it.");
  m.def(
      "clear_streams",
      [] { synchronize(); },
      nb::call_guard<nb::gil_scoped_release>(),
      "Waits until the work of all streams is done. The streams stay usable.");
  m.def(
      "stream",
      [](StreamArg s) { return StreamContext(std::move(s)); },
      "s"_a,
      nb::sig("def stream(s: Stream | ThreadLocalStream | Device | DeviceType) -> StreamContext"),
      "with stream(s): operations of this thread that name no stream run on `s`.");
  m.def(
      "synchronize",
      [](const StreamArg& s) {
        const bool all = std::holds_alternative<std::monostate>(s.where);
        const Stream stream = all ? Stream{} : StreamOrDevice(s).stream();
        nb::gil_scoped_release release;
        all ? synchronize() : synchronize(stream);
      },
      "stream"_a = nb::none(),
      "Waits until the work of a stream (by default: of all) is done; raises its error.");
  m.def(
      "is_available",
      [](const StreamArg& d) { return is_available(to_device(d, "is_available")); },
      "device"_a,
      nb::sig("def is_available(device: Device | DeviceType) -> bool"),
      "Whether the device can be used.");
  m.def("device_count", &device_count, "device_type"_a, "How many devices of the type there are.");
  m.def(
      "device_info",
      [](const StreamArg& d) {
        const Device device = to_device(d, "device_info");
        return is_available(device) ? backend_for(device).info() : DeviceInfo{};
      },
      "d"_a = nb::none(),
      nb::sig("def device_info(d: Device | DeviceType | None = None) -> dict[str, str | int]"),
      "Facts about a device (by default: the default device); empty if it is not available.");
}

const Binding binding{&bind_device};

} // namespace
} // namespace narrows::python
