#include "narrows/runtime/device.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include <atomic>
#include <deque>
#include <unordered_map>

#include "bindings/arguments.h"
#include "bindings/define.h"
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

// `with stream(s)`. Each time it is entered it makes a scope.
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
  define<"default_device() -> Device">(
      m,
      &default_device,
      R"(The device of operations that name none.

      Returns:
        A device: the GPU where there is one, unless `set_default_device()` set another.

      Example:
        >>> device = mx.default_device()
      )");
  define<"set_default_device(device: Device | DeviceType) -> None">(
      m,
      [](const StreamArg& d) { set_default_device(to_device(d, "set_default_device")); },
      R"(Sets the device of operations that name none.

      Args:
        device: A device, or its type.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> before = mx.default_device()
        >>> mx.set_default_device(mx.cpu)
        >>> mx.default_device()
        Device(cpu, 0)
        >>> mx.set_default_device(before)
      )");
  define<"default_stream(device: Device | DeviceType) -> Stream">(
      m,
      [](const StreamArg& d) { return default_stream(to_device(d, "default_stream")); },
      R"(The stream of operations on a device that name none.

      Args:
        device: A device, or its type.

      Returns:
        A stream.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> mx.default_stream(mx.cpu).device
        Device(cpu, 0)
      )");
  define<"set_default_stream(stream: Stream) -> None">(
      m,
      &set_default_stream,
      R"(Makes a stream the default stream of its device.

      Args:
        stream: A stream of that device.

      Example:
        >>> before = mx.default_stream(mx.cpu)
        >>> mx.set_default_stream(mx.new_stream(mx.cpu))
        >>> mx.set_default_stream(before)
      )");
  define<"new_stream(device: Device | DeviceType) -> Stream">(
      m,
      [](const StreamArg& d) { return new_stream(to_device(d, "new_stream")); },
      R"(A new stream: a queue of work that runs in order.

      Work on different streams may overlap.

      Args:
        device: A device, or its type.

      Returns:
        A stream.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> stream = mx.new_stream(mx.cpu)
        >>> mx.add(1, 2, stream=stream)
        array(3, dtype=int32)
      )");
  define<"new_thread_unsafe_stream(device: Device | DeviceType) -> Stream">(
      m,
      [](const StreamArg& d) { return new_stream(to_device(d, "new_thread_unsafe_stream")); },
      R"(A new stream, as `new_stream()` makes it: all streams may be used from any thread.

      Args:
        device: A device, or its type.

      Returns:
        A stream.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> mx.new_thread_unsafe_stream(mx.cpu).device
        Device(cpu, 0)
      )");
  define<"new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream">(
      m,
      &new_thread_local_stream,
      R"(Stands for a new stream in every thread that uses it.

      Args:
        device: A device, or its type.

      Returns:
        What `stream=` arguments take.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> mx.add(1, 2, stream=mx.new_thread_local_stream(mx.cpu))
        array(3, dtype=int32)
      )");
  define<"clear_streams() -> None">(
      m,
      [] { synchronize(); },
      R"(Waits until the work of all streams is done. The streams stay usable.

      Example:
        >>> mx.clear_streams()
      )",
      nb::call_guard<nb::gil_scoped_release>());
  define<"stream(s: Stream | ThreadLocalStream | Device | DeviceType) -> StreamContext">(
      m,
      [](StreamArg s) { return StreamContext(std::move(s)); },
      R"(A scope in which operations of this thread that name no stream run on a given one.

      Args:
        s: A stream, or a device, which stands for its default stream.

      Returns:
        A context manager, which may be entered again.

      Raises:
        ValueError: If the device is not available.

      Example:
        >>> with mx.stream(mx.cpu):
        ...     a = mx.ones(2) + 1
        >>> a
        array([2, 2], dtype=float32)
      )");
  define<
      "synchronize(stream: Stream | ThreadLocalStream | Device | DeviceType | None = "
      "None) -> None">(
      m,
      [](const StreamArg& s) {
        const bool all = std::holds_alternative<std::monostate>(s.where);
        const Stream stream = all ? Stream{} : StreamOrDevice(s).stream();
        nb::gil_scoped_release release;
        all ? synchronize() : synchronize(stream);
      },
      R"(Waits until the work of a stream is done, and raises its error.

      Args:
        stream: A stream, or a device, which stands for its default stream; None is all streams.

      Example:
        >>> mx.async_eval(mx.ones(2) + 1)
        >>> mx.synchronize()
      )");
  define<"is_available(device: Device | DeviceType) -> bool">(
      m,
      [](const StreamArg& d) { return is_available(to_device(d, "is_available")); },
      R"(Whether a device can be used.

      Args:
        device: A device, or its type.

      Returns:
        True or False.

      Example:
        >>> mx.is_available(mx.cpu)
        True
      )");
  define<"device_count(device_type: DeviceType) -> int">(
      m,
      &device_count,
      R"(How many devices of a type there are.

      Args:
        device_type: `mx.cpu` or `mx.gpu`.

      Returns:
        A number, 0 if there is none.

      Example:
        >>> mx.device_count(mx.cpu)
        1
      )");
  define<"device_info(d: Device | DeviceType | None = None) -> dict[str, str | int]">(
      m,
      [](const StreamArg& d) {
        const Device device = to_device(d, "device_info");
        return is_available(device) ? backend_for(device).info() : DeviceInfo{};
      },
      R"(Facts about a device.

      Args:
        d: A device, or its type; None is the default device.

      Returns:
        A dict, for example with the number of bytes of memory. It is empty if the device is not
        available.

      Example:
        >>> info = mx.device_info(mx.cpu)
      )");
}

const Binding binding{&bind_device};

} // namespace
} // namespace narrows::python
