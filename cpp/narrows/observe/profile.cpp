#include "narrows/observe/profile.h"

#include <pthread.h>

#include <algorithm>
#include <mutex>

#include "narrows/core/errors.h"
#include "narrows/record/primitive.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/worker.h"

namespace narrows {

namespace detail {
std::atomic<int> running_profiles{0};
}

namespace {

struct Running {
  std::mutex mutex; // of the list, and of what the profiles in it have recorded
  std::vector<Profile*> profiles;
};

Running* all_running = nullptr;

// Never destroyed: workers may still run steps. A child after fork() gets a list of its own,
// because a thread of its parent may hold the lock.
Running& running() {
  static const bool created = [] {
    all_running = new Running;
    pthread_atfork(nullptr, nullptr, [] {
      all_running = new Running;
      detail::running_profiles = 0;
    });
    return true;
  }();
  (void)created;
  return *all_running;
}

int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void describe(const Plan& plan, std::span<const uint32_t> values, std::vector<std::string>& texts) {
  for (uint32_t id : values) {
    const PlannedValue& value = plan.values[id];
    texts.push_back(concat_message(to_string(value.shape()), " ", name_of(value.dtype())));
  }
}

} // namespace

Profile::~Profile() {
  leave();
}

void Profile::start() {
  Running& all = narrows::running();
  std::lock_guard lock(all.mutex);
  if (running_) {
    throw std::runtime_error("[profile] it is running already, expected one that has ended.");
  }
  entries_.clear();
  started_ = now();
  running_ = true;
  all.profiles.push_back(this);
  ++detail::running_profiles;
}

void Profile::leave() {
  Running& all = narrows::running();
  std::lock_guard lock(all.mutex);
  running_ = false;
  if (std::erase(all.profiles, this) > 0) {
    --detail::running_profiles;
  }
}

void Profile::stop() {
  if (!running()) {
    return;
  }
  {
    struct Leave {
      Profile& profile;
      ~Leave() {
        profile.leave();
      }
    } at_last{*this};
    wait_for_workers();
  }
  for (detail::ProfileEntry& entry : entries_) {
    if (entry.device_start && entry.device_end) {
      entry.step.device_start = entry.device_start->nanoseconds();
      entry.step.device_duration = entry.device_end->nanoseconds() - entry.step.device_start;
    }
    entry.device_start.reset();
    entry.device_end.reset();
  }
}

bool Profile::running() const {
  std::lock_guard lock(narrows::running().mutex);
  return running_;
}

int64_t Profile::started() const {
  std::lock_guard lock(narrows::running().mutex);
  return started_;
}

std::vector<ProfiledStep> Profile::steps() const {
  std::lock_guard lock(narrows::running().mutex);
  std::vector<ProfiledStep> steps;
  steps.reserve(entries_.size());
  for (const detail::ProfileEntry& entry : entries_) {
    steps.push_back(entry.step);
  }
  return steps;
}

void StepTimer::begin() {
  entry_ = std::make_unique<detail::ProfileEntry>();
  if (step_.encodes) {
    entry_->device_start = step_.backend->encoder(step_.stream).mark_time();
  }
  entry_->step.start = now();
}

// The step is described here, because it loses its node's primitive when it retires.
void StepTimer::note_run() {
  ProfiledStep& done = entry_->step;
  done.duration = now() - done.start;
  if (entry_->device_start) {
    entry_->device_end = step_.backend->encoder(step_.stream).mark_time();
  }
  done.op = step_.primitive->name();
  describe(plan_, plan_.inputs_of(step_), done.inputs);
  describe(plan_, plan_.outputs_of(step_), done.outputs);
  done.stream = step_.stream;
  done.thread = std::this_thread::get_id();
  done.origin = origin_of(plan_, step_);
  const int64_t workspace = std::max<int64_t>(0, step_.workspace);
  done.allocated_bytes = workspace;
  for (uint32_t i = 0; i < step_.allocations.count; ++i) {
    done.allocated_bytes += plan_.buffers[plan_.allocated[step_.allocations.first + i]].bytes;
  }
  done.running_bytes = get_active_memory(step_.backend->memory()) + workspace;
}

void StepTimer::note_retired() {
  entry_->step.live_bytes = get_active_memory(step_.backend->memory());
  Running& all = running();
  std::lock_guard lock(all.mutex);
  for (Profile* profile : all.profiles) {
    if (profile->started_ <= entry_->step.start) {
      profile->entries_.push_back(*entry_);
    }
  }
}

} // namespace narrows
