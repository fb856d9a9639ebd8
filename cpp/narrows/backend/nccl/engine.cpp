#include "narrows/backend/nccl/engine.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <optional>
#include <string_view>

#include "narrows/backend/nccl/group.h"
#include "narrows/backend/nccl/meeting_point.h"
#include "narrows/backend/nccl/watch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/backend.h"

namespace narrows::nccl {
namespace {

struct World {
  std::mutex mutex;
  NcclGroup* group = nullptr;
  int number = kAlone;
  bool is_connected = false;
  pid_t process = 0;                           // which is connected
  const Engine* mpi = nullptr;                 // by which processes found each other
  std::unique_ptr<MeetingPoint> meeting_point; // in rank 0
};

// Never destroyed: it may be used while static objects are destroyed.
World& world() {
  static World* const result = new World;
  return *result;
}

constexpr Device kGpu{Device::Type::gpu, 0};

// A number from the environment.
int number_of(const char* variable, int least, int most) {
  const char* text = std::getenv(variable);
  char* end = nullptr;
  errno = 0;
  const long value = text ? std::strtol(text, &end, 10) : 0;
  if (!text || end == text || *end || errno || value < least || value > most) {
    fail<std::runtime_error>(
        "[init] ",
        variable,
        " is ",
        text ? concat_message("'", text, "'") : "not set",
        ", expected a number from ",
        least,
        " to ",
        most,
        ".");
  }
  return static_cast<int>(value);
}

bool is_set(const char* variable) {
  const char* text = std::getenv(variable);
  return text && *text;
}

bool has_gpu() {
  return is_available(kGpu) &&
         backend_for(kGpu).supports(
             {KernelFamily::collective, 0, float32, float32, {}, 0, 0, kOnDeviceQueue});
}

bool is_available(const EngineOptions& options) {
  return load(options.libraries) && has_gpu();
}

bool is_launched() {
  return is_set("RANK") && is_set("WORLD_SIZE") && is_set("MASTER_ADDR") && is_set("MASTER_PORT");
}

// Where this process stands among the others, and where they meet.
struct Launch {
  int rank = 0;
  int size = 1;
  MeetingPlace place;
  Socket listening; // in rank 0, if it listens already
};

Launch launch_of_environment() {
  constexpr int kMost = 1 << 20;
  Launch launch;
  if (!is_set("WORLD_SIZE") && !is_set("RANK")) {
    return launch; // nobody has launched this process with others
  }
  launch.size = number_of("WORLD_SIZE", 1, kMost);
  launch.rank = number_of("RANK", 0, launch.size - 1);
  if (!is_set("MASTER_ADDR")) {
    fail<std::runtime_error>("[init] MASTER_ADDR is not set, expected the host of rank 0.");
  }
  launch.place.host = std::getenv("MASTER_ADDR");
  // torchrun itself listens at the port if it says so.
  const char* is_taken = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const int next = is_taken && std::string_view(is_taken) == "True" ? 1 : 0;
  launch.place.port = static_cast<uint16_t>(
      number_of("MASTER_PORT", 1, std::numeric_limits<uint16_t>::max() - 1) + next);
  return launch;
}

// Processes that a launcher of MPI has started tell each other by MPI where they meet.
std::optional<Launch> launch_by_mpi(const EngineOptions& options) {
  const Engine* mpi = find_engine("mpi");
  if (!mpi || !mpi->is_launched()) {
    return {};
  }
  const int number = mpi->connect({{}, options.timeout});
  world().mpi = mpi;
  ProcessGroup& all = process_group(number);
  Launch launch;
  launch.rank = all.rank();
  launch.size = all.size();
  struct Place {
    std::array<char, 254> host;
    uint16_t port;
  };
  Place mine{};
  if (launch.rank == 0) {
    launch.listening = listen_on(0);
    mine.port = port_of(launch.listening);
    gethostname(mine.host.data(), mine.host.size() - 1);
  }
  std::vector<Place> places(static_cast<size_t>(launch.size));
  CollectiveParams params{};
  params.group = number;
  params.count = sizeof(Place);
  params.shape[0] = sizeof(Place);
  params.ndim = 1;
  all.run(CollectiveOp::all_gather, uint8, &mine, places.data(), params);
  char own[sizeof(mine.host)] = "";
  gethostname(own, sizeof(own) - 1);
  const bool is_here = std::string_view(own) == places[0].host.data();
  launch.place = {is_here ? "localhost" : places[0].host.data(), places[0].port};
  return launch;
}

int connect(const EngineOptions& options) {
  World& w = world();
  std::lock_guard lock(w.mutex);
  if (w.is_connected) {
    return w.number;
  }
  w.process = getpid();
  const Library* library = load(options.libraries);
  if (!library) {
    fail<std::runtime_error>(
        "[init] no NCCL library, expected one that the system's loader finds, or its path in "
        "NARROWS_NCCL_LIBRARY.");
  }
  if (!has_gpu()) {
    fail<std::runtime_error>("[init] no NVIDIA GPU, which NCCL needs.");
  }
  std::optional<Launch> launch;
  if (!is_launched()) {
    launch = launch_by_mpi(options);
  }
  if (!launch) {
    launch = launch_of_environment();
  }
  if (launch->size > 1) {
    if (launch->rank == 0) {
      Socket listening = launch->listening.is_open() ? std::move(launch->listening)
                                                     : listen_on(launch->place.port);
      w.meeting_point = std::make_unique<MeetingPoint>(std::move(listening), launch->size);
    }
    try {
      // CUDA has a device for each thread: the backend chooses this one's.
      backend_for(kGpu).encoder(default_stream(kGpu)).submit();
      auto group = NcclGroup::of_all_processes(
          *library, launch->place, launch->rank, launch->size, options.timeout);
      w.group = group.get();
      w.number = add_process_group(std::move(group));
    } catch (...) {
      w.meeting_point.reset();
      throw;
    }
  }
  w.is_connected = true;
  return w.number;
}

// Others may wait for what this process will not do any more: it tells them. Rank 0 stays until
// all have come to their end, because they meet there.
void end() {
  World& w = world();
  std::lock_guard lock(w.mutex);
  if (w.process != getpid()) {
    return;
  }
  if (w.group) {
    w.group->ends_together();
    unwatch_all();
    w.group = nullptr;
    w.meeting_point.reset();
  }
  if (w.mpi) {
    w.mpi->end();
  }
}

} // namespace

constexpr Engine kEngine{"nccl", is_available, is_launched, connect, end};

} // namespace narrows::nccl
