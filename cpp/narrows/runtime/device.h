// Devices and streams: small values that name where work runs and in which queue.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace narrows {

struct Device {
  enum class Type : uint8_t { cpu, gpu };
  Type type = Type::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

struct Stream {
  Device device;
  int index = 0; // unique over all devices

  bool operator==(const Stream&) const = default;
};

std::string to_string(Device device); // "Device(cpu, 0)"
std::string to_string(Stream stream); // "Stream(Device(cpu, 0), 0)"

// Whether a backend serves this device.
bool is_available(Device device);
int device_count(Device::Type type);

// The device and stream of operations that name none: those of the thread's innermost
// StreamScope, else those set for the process. Setting one that is not available is a ValueError.
Device default_device();
void set_default_device(Device device);
Stream default_stream(Device device);
void set_default_stream(Stream stream);

// Makes a stream, and its device, the default of this thread while it lives.
class StreamScope {
 public:
  explicit StreamScope(Stream stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  std::optional<Stream> previous_;
};

// A new stream; work on different streams may overlap.
Stream new_stream(Device device);

// Blocks until all work submitted to the stream (to every stream) is done; raises its error.
void synchronize(Stream stream);
void synchronize();

} // namespace narrows
