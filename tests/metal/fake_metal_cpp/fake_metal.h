// How tests look into the fake Metal and make it fail.
//
// The fake has the names of metal-cpp that the backend uses, over the emulated GPU's engine. Each
// queue runs its command buffers on a thread of its own after they are committed. What Metal leaves
// to chance it does the unlucky way: dispatches between two barriers run in reverse order, and new
// buffers are full of NaN. What Metal's validation would report, and what it could not, is a
// mistake:
//   - an encoder used after its end, or never ended; a handler added, or a commit made, too late,
//   - a dispatch without pipeline, with unbound buffers, offsets or sizes that do not fit,
//   - dispatches that conflict with no barrier between them,
//   - command buffers that conflict with no fence between them,
//   - a buffer released while a command buffer that does not retain it is in flight,
//   - objects handed to a pool where there is none, pools that end in the wrong order.
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
};
Counts counts();
void reset_counts();

// Objects that have not been destroyed.
int64_t live_objects();
int64_t live_buffers();

// The next command buffer that has a dispatch of a kernel whose name has this text fails instead
// of running it.
void fail_next(const std::string& kernel);

// While it lives, committed command buffers do not start.
class Pause {
 public:
  Pause();
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;
};

} // namespace fake_metal
