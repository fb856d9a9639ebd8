// What a device has to offer: memory, and encoders that take the work of a stream.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "narrows/core/errors.h"
#include "narrows/core/shape.h"
#include "narrows/runtime/device.h"
#include "narrows/runtime/event.h"
#include "narrows/runtime/kernel_call.h"
#include "narrows/runtime/program.h"

namespace narrows {

// Copies bytes between two memories. The host can address at least one of them.
void transfer(Operand from, Operand to, int64_t bytes);

// A point in a stream's work, for profiles.
class TimeMark {
 public:
  virtual ~TimeMark() = default;
  // The time when the device reached it, in nanoseconds of std::chrono::steady_clock. Waits until
  // it does.
  virtual int64_t nanoseconds() = 0;
};

// The arrays that a program runs over.
struct ProgramCall {
  const Program& program;
  const Shape& shape;  // of the space: dimensions of rows, then those inside of a row
  size_t row_dims = 0; // how many of its dimensions are those of rows
  // By operand of the program, then by output: where it lies (nowhere, unless it is in memory),
  // and how many of its elements a step along each dimension of the space is.
  std::span<const Operand> operands;
  std::span<const Strides> strides;
};

// Takes the work of one stream, in order. Work may run at once (CPU) or later (GPU).
class Encoder {
 public:
  virtual ~Encoder() = default;

  virtual void run(const KernelCall& call) = 0;
  // Called only where the backend says that it runs programs.
  virtual void run_program(const ProgramCall&) {
    fail<ValueError>("[fused] this device does not run programs.");
  }

  // Sets the event when all work that was encoded before has run. If work failed that this thread
  // has encoded since its last failed event, the event fails with that error.
  virtual void record(const EventRef& event) = 0;
  // Work that is encoded from now on runs after the event is set.
  virtual void wait(const EventRef& event) = 0;

  // Starts the encoded work, where the encoder collects work.
  virtual void submit() {
  }
  // Returns when all encoded work has run. Raises the error of work that failed.
  virtual void finish() {
  }

  // Marks the time when all work that was encoded before has run. nullptr where the host's clock is
  // as good, because work runs at once, or where the device has no clock.
  virtual std::unique_ptr<TimeMark> mark_time() {
    return nullptr;
  }
};

using DeviceInfo = std::map<std::string, std::variant<int64_t, std::string>>;

class Backend {
 public:
  virtual ~Backend() = default;

  virtual MemorySource& memory() = 0;
  // Whether kernels can address memory of this source (nullptr: memory of the host). Other memory
  // is transferred before.
  virtual bool addresses(const MemorySource* source) const {
    return !source || source->host_visible();
  }
  // The encoder of a stream, kept by the backend.
  virtual Encoder& encoder(Stream stream) = 0;
  // Whether the device has the kernel. Asked whenever an operation is recorded. The CPU has all
  // kernels.
  virtual bool supports(const KernelId& kernel) const = 0;
  // How many bytes of scratch a call of this kernel with these parameters needs, wherever its
  // operands lie. nullptr: calls of the family need none.
  using Scratch = int64_t (*)(const KernelId& kernel, std::span<const std::byte> params);
  virtual Scratch scratch(KernelFamily) const {
    return nullptr;
  }
  // How many independent steps a stream can run at the same time. 1 where each step fills the
  // device, or where a step runs to its end before the next is encoded.
  virtual int concurrency() const {
    return 1;
  }
  // Whether an array is ready only when an event is set that was recorded after its work. It is
  // false where work runs at once. It is also false where work runs behind the host, but everything
  // that reads or writes the memory comes after it: kernels of any stream, read() and write().
  virtual bool ready_by_event() const {
    return false;
  }
  // Waits until work in flight has returned the memory that only that work holds. Interruptible.
  virtual void wait_idle() {
  }
  // The limits of programs that its encoders run. Where they run none, operations are not fused.
  virtual const ProgramLimits& program_limits() const {
    static constexpr ProgramLimits kNone;
    return kNone;
  }
  virtual DeviceInfo info() const = 0;
  // The name of the interface that reaches the device: "metal", "cuda"; "" where it does not
  // matter.
  virtual std::string_view interface() const {
    return "";
  }
  // Whether operations run on this device by default.
  virtual bool is_preferred() const {
    return false;
  }
};

// The backend that serves the device. ValueError if there is none.
Backend& backend_for(Device device);

// Whether there are devices that cannot address each other's memory, so that plans need transfers.
bool has_separate_memories();

// Replaces the backend of a device type (nullptr: none) and returns the previous one. Only for
// start-up and tests, while no work is in flight.
Backend* set_backend(Device::Type type, Backend* backend);

} // namespace narrows
