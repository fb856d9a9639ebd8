#include "narrows/backend/nccl/watch.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "narrows/backend/nccl/group.h"

namespace narrows::nccl {
namespace {

constexpr std::chrono::milliseconds kPeriod{20};

struct Watched {
  std::mutex mutex;
  std::vector<NcclGroup*> groups;
  bool has_thread = false;
};

// Never destroyed: the thread lasts until the process ends.
Watched& watched() {
  static Watched* const result = new Watched;
  return *result;
}

} // namespace

void watch(NcclGroup* group) {
  Watched& all = watched();
  std::lock_guard lock(all.mutex);
  all.groups.push_back(group);
  if (!all.has_thread) {
    all.has_thread = true;
    std::thread([&all] {
      for (;;) {
        std::this_thread::sleep_for(kPeriod);
        std::lock_guard lock(all.mutex);
        for (NcclGroup* each : all.groups) {
          each->look_after();
        }
      }
    }).detach();
  }
}

void unwatch(NcclGroup* group) {
  Watched& all = watched();
  std::lock_guard lock(all.mutex);
  std::erase(all.groups, group);
}

void unwatch_all() {
  Watched& all = watched();
  std::lock_guard lock(all.mutex);
  all.groups.clear();
}

} // namespace narrows::nccl
