// What all operation families share.
#pragma once

#include <optional>

#include "narrows/record/array.h"

namespace narrows {

// Where an operation runs: a stream, a device's default stream, or (nothing given) the default
// device's default stream.
class StreamOrDevice {
 public:
  StreamOrDevice() = default;
  StreamOrDevice(Stream stream) : stream_(stream) {
  }
  StreamOrDevice(Device device) : stream_(default_stream(device)) {
  }

  Stream stream() const {
    return stream_ ? *stream_ : default_stream(default_device());
  }

 private:
  std::optional<Stream> stream_;
};

} // namespace narrows
