// How tests look into the fake Metal and make it fail.
//
// The fake has the names of metal-cpp that the backend uses, on top of the emulated GPU's engine.
// Each queue runs its command buffers on a thread of its own after they are committed. Where Metal
// leaves the order open, the fake takes the unlucky one: dispatches between two barriers run in
// reverse order, and new buffers are full of NaN. A mistake is what Metal's validation would
// report, and some errors that it could not find:
// - an encoder used after its end, or never ended; a handler added, or a commit made, too late,
// - a dispatch without pipeline, with unbound buffers, offsets or sizes that do not fit,
// - dispatches that conflict without a barrier between them,
// - command buffers that conflict without a fence between them,
// - a buffer released while a command buffer that does not retain it is in flight,
// - a source that is compiled with fast math, or for an old version of the language,
// - objects given to a pool where there is none, pools that end in the wrong order.
// Mistakes in calls are also thrown, as std::logic_error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fake_metal {

// The mistakes since the last call.
std::vector<std::string> take_mistakes();

struct Counts {
  int64_t command_buffers = 0;
  int64_t dispatches = 0;
  int64_t barriers = 0;
  int64_t event_waits = 0;
  int64_t dispatches_of_compiled_kernels = 0;
};
Counts counts();
void reset_counts();

// The number of objects that have not been destroyed.
int64_t live_objects();
int64_t live_buffers();

// The next command buffer that has a dispatch of a kernel whose name has this text fails instead
// of running it.
void fail_next(const std::string& kernel);

// While it lives, sources are compiled, by the compiler of the tests. Otherwise each has an error.
// Its pipelines have at most so many threads in a threadgroup.
class Compiler {
 public:
  explicit Compiler(uint32_t most_threads = 1024);
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;
};

// While it lives, committed command buffers do not start.
class Pause {
 public:
  Pause();
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;
};

} // namespace fake_metal
