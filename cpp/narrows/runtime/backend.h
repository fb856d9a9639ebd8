// What a device must offer: memory, and encoders that take the work of a stream.
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

// Copies bytes between two memories, of which the host can address one at least.
void transfer(Operand from, Operand to, int64_t bytes);

// A moment of a stream's work, for profiles.
class TimeMark {
 public:
  virtual ~TimeMark() = default;
  // When the device got there, in nanoseconds of std::chrono::steady_clock. Waits until it does.
  virtual int64_t nanoseconds() = 0;
};

// The arrays that a program runs over.
struct ProgramCall {
  const Program& program;
  const Shape& shape;  // of the space: dimensions of rows, then those inside of a row
  size_t row_dims = 0; // how many dimensions rows have
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
  // Only where the backend says that it runs programs.
  virtual void run_program(const ProgramCall&) {
    fail<ValueError>("[fused] this device does not run programs.");
  }

  // Sets the event when all that was encoded before has run; fails it with the error of work that
  // this thread has encoded since its last event that failed.
  virtual void record(const EventRef& event) = 0;
  // What is encoded after runs when the event is set.
  virtual void wait(const EventRef& event) = 0;

  // What was encoded begins to run, where the encoder collects work.
  virtual void submit() {
  }
  // Returns when all that was encoded has run; raises the error of work that failed.
  virtual void finish() {
  }

  // Marks the time when all that was encoded before has run. nullptr where the host's clock says as
  // much, because work runs at once, or where the device has none.
  virtual std::unique_ptr<TimeMark> mark_time() {
    return nullptr;
  }
};

using DeviceInfo = std::map<std::string, std::variant<int64_t, std::string>>;

class Backend {
 public:
  virtual ~Backend() = default;

  virtual MemorySource& memory() = 0;
  // Whether kernels may be given memory of this source (nullptr: memory of the host). What they may
  // not is transferred before.
  virtual bool addresses(const MemorySource* source) const {
    return !source || source->host_visible();
  }
  // The encoder of a stream, kept by the backend.
  virtual Encoder& encoder(Stream stream) = 0;
  // Whether it has the kernel. Asked whenever an operation is recorded; the CPU has all.
  virtual bool supports(const KernelId& kernel) const = 0;
  // How many bytes of scratch a call of this kernel with these parameters wants, wherever its
  // operands lie. nullptr: calls of the family want none.
  using Scratch = int64_t (*)(const KernelId& kernel, std::span<const std::byte> params);
  virtual Scratch scratch(KernelFamily) const {
    return nullptr;
  }
  // How many independent steps a stream gains from having at hand: 1 where each step fills the
  // device, or runs before the next is taken.
  virtual int concurrency() const {
    return 1;
  }
  // Whether an array is ready only when an event is set that was recorded after its work. Not so
  // where work runs at once, nor where it runs behind the host but all that reads its memory, or
  // writes there, comes after it: kernels of any stream, read() and write().
  virtual bool ready_by_event() const {
    return false;
  }
  // Waits until work in flight has returned the memory that only it holds. Interruptible.
  virtual void wait_idle() {
  }
  // Of the programs that its encoders run. Where they run none, operations are not fused.
  virtual const ProgramLimits& program_limits() const {
    static constexpr ProgramLimits kNone;
    return kNone;
  }
  virtual DeviceInfo info() const = 0;
  // What the device is reached through: "metal", "cuda"; "" if that is of no interest.
  virtual std::string_view interface() const {
    return "";
  }
  // Whether operations run there if nothing else is said.
  virtual bool is_preferred() const {
    return false;
  }
};

// The backend that serves the device. ValueError if there is none.
Backend& backend_for(Device device);

// Whether there are devices that cannot address each other's memory, so that plans transfer.
bool has_separate_memories();

// Replaces the backend of a device type (nullptr: none) and returns the previous one. For
// start-up and tests, while no work is in flight.
Backend* set_backend(Device::Type type, Backend* backend);

} // namespace narrows
