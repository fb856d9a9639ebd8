// Profiles: the time and the bytes of the steps of evaluations, as a trace and as a table.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "narrows/plan/plan.h"

namespace narrows {

// One step that has run. Times are nanoseconds of std::chrono::steady_clock.
struct ProfiledStep {
  std::string op;
  std::vector<std::string> inputs; // shape and dtype: "(2, 3) float32"
  std::vector<std::string> outputs;
  Stream stream;
  std::thread::id thread; // that ran or encoded it
  Origin origin = 0;
  int64_t start = 0;
  int64_t duration =
      0; // on the host: the time to run it, or to encode it where the device runs behind
  int64_t device_start = 0; // on the device, where the backend reports it; else both are 0
  int64_t device_duration = 0;
  int64_t allocated_bytes = 0; // new buffers and workspace
  int64_t running_bytes = 0;   // active memory of its device when it had run, with its workspace
  int64_t live_bytes = 0;      // the same after the buffers that died were freed
};

namespace detail {

extern std::atomic<int> running_profiles;

struct ProfileEntry {
  ProfiledStep step;
  std::shared_ptr<TimeMark> device_start; // until the profile stops
  std::shared_ptr<TimeMark> device_end;
};

} // namespace detail

// Records every step of evaluations that start while it is running, on any thread. Profiles may
// overlap: each has all steps of its own time. A child after fork() records nothing.
class Profile {
 public:
  Profile() = default;
  ~Profile(); // without waiting
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  // Starts. Drops what was recorded before. RuntimeError if it is running.
  void start();
  // Stops. Waits for asynchronous work in flight, which still belongs to the profile. Does nothing
  // if it is not running.
  void stop();
  bool running() const;

  // What was recorded so far, in the order in which the steps ended.
  std::vector<ProfiledStep> steps() const;
  // When it was started.
  int64_t started() const;

 private:
  friend class StepTimer;
  void leave();

  int64_t started_ = 0;
  bool running_ = false;
  std::vector<detail::ProfileEntry> entries_;
};

// The trace event format of Chrome and Perfetto: an event for each step, a track for each stream
// and each thread that ran its steps, and a counter of active memory.
std::string trace_json(const Profile& profile);

// A line for each operation: how often it ran, its time, its bytes. The operation that took most
// time comes first.
std::string summary_text(const Profile& profile);

// Measures one step for the profiles that are running. If there are none, does nothing.
class StepTimer {
 public:
  StepTimer(const Plan& plan, const Step& step) : plan_(plan), step_(step) {
    if (detail::running_profiles.load(std::memory_order_relaxed) > 0) [[unlikely]] {
      begin();
    }
  }
  // Called when the step has run or is encoded.
  void ran() {
    if (entry_) [[unlikely]] {
      note_run();
    }
  }
  // Called when the buffers that died with it are freed.
  void retired() {
    if (entry_) [[unlikely]] {
      note_retired();
    }
  }

 private:
  void begin();
  void note_run();
  void note_retired();

  const Plan& plan_;
  const Step& step_;
  std::unique_ptr<detail::ProfileEntry> entry_;
};

} // namespace narrows
