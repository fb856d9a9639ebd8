#include "narrows/backend/mpi/engine.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "narrows/backend/mpi/group.h"
#include "narrows/core/errors.h"

namespace narrows::mpi {
namespace {

// While it lives, MPI may put handlers of its own in place of the program's. Its end takes them
// away.
class SignalHandlersKept {
 public:
  SignalHandlersKept() {
    for (int i = 1; i < kSignals; ++i) {
      known_[i] = sigaction(i, nullptr, &handlers_[i]) == 0;
    }
  }
  ~SignalHandlersKept() {
    for (int i = 1; i < kSignals; ++i) {
      if (known_[i]) {
        sigaction(i, &handlers_[i], nullptr);
      }
    }
  }
  SignalHandlersKept(const SignalHandlersKept&) = delete;
  SignalHandlersKept& operator=(const SignalHandlersKept&) = delete;

 private:
  static constexpr int kSignals = 32;
  std::array<struct sigaction, kSignals> handlers_{};
  std::array<bool, kSignals> known_{};
};

struct World {
  std::mutex mutex;
  Library* library = nullptr;
  MpiGroup* group = nullptr;
  int number = kAlone;
  pid_t process = 0;    // which is connected
  bool is_ours = false; // nobody else has started MPI
};

// Never destroyed: it may be used while static objects are destroyed.
World& world() {
  static World* const result = new World;
  return *result;
}

// Starts MPI unless somebody has done it, and asks which threads may call it.
void start(World& w) {
  Library& mpi = *w.library;
  int is_started = 0;
  mpi.call(mpi.Initialized, &is_started);
  int level = 0;
  if (is_started) {
    int is_over = 0;
    mpi.call(mpi.Finalized, &is_over);
    if (is_over) {
      fail<std::runtime_error>("[init] MPI has been finalized, expected that it is still running.");
    }
    mpi.call(mpi.Query_thread, &level);
  } else {
    const SignalHandlersKept kept;
    mpi.call(mpi.Init_thread, nullptr, nullptr, mpi.abi.thread_multiple, &level);
    w.is_ours = true;
  }
  if (level < mpi.abi.thread_serialized) {
    fail<std::runtime_error>(
        "[init] MPI was started for thread level ",
        level,
        ", expected MPI_THREAD_SERIALIZED (",
        mpi.abi.thread_serialized,
        ") at least.");
  }
}

bool is_available(const EngineOptions& options) {
  return load(options.libraries) != nullptr;
}

bool is_launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(name)) {
      return true;
    }
  }
  return false;
}

int connect(const EngineOptions& options) {
  World& w = world();
  std::lock_guard lock(w.mutex);
  if (w.library) {
    return w.number;
  }
  Library* library = load(options.libraries);
  if (!library) {
    fail<std::runtime_error>(
        "[init] no MPI library, expected one that the system's loader finds, or its path in "
        "NARROWS_MPI_LIBRARY.");
  }
  w.library = library;
  w.process = getpid();
  try {
    start(w);
    auto group = MpiGroup::of_all_processes(*library, options.timeout);
    w.group = group.get();
    w.number = group->size() == 1 ? kAlone : add_process_group(std::move(group));
    if (w.number == kAlone) {
      w.group = nullptr;
    }
  } catch (...) {
    w.library = nullptr;
    throw;
  }
  return w.number;
}

// The others may still need this process to answer, or wait for what it will not do any more. So it
// waits until all have come to their end, and tells those that ask for something else.
void end() {
  World& w = world();
  std::lock_guard lock(w.mutex);
  if (!w.library || !w.is_ours || w.process != getpid()) {
    return;
  }
  Library& mpi = *w.library;
  w.is_ours = false;
  if (!w.group || w.group->ends_together()) {
    const SignalHandlersKept kept;
    mpi.call(mpi.Finalize);
  }
}

} // namespace

constexpr Engine kEngine{"mpi", is_available, is_launched, connect, end};

} // namespace narrows::mpi
