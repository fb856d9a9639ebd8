#include "narrows/runtime/process_group.h"

#include <unistd.h>

#include <cstring>
#include <mutex>

#include "metal_kernels/collective.h"
#include "narrows/core/errors.h"

namespace narrows {
namespace {

class Alone final : public ProcessGroup {
 public:
  int rank() const override {
    return 0;
  }
  int size() const override {
    return 1;
  }
  void run(CollectiveOp, Dtype dtype, const void* in, void* out, const CollectiveParams& params)
      override {
    std::memmove(out, in, static_cast<size_t>(params.count * size_of(dtype)));
  }
  int split(int color, int) override {
    fail<std::runtime_error>(
        "[split] a group of one process, color ", color, ": it cannot be split any further");
  }
};

struct Groups {
  std::mutex mutex;
  std::vector<std::unique_ptr<ProcessGroup>> all;
  const pid_t process = getpid();
};

// Never destroyed: operations may run while static objects are destroyed.
Groups& groups() {
  static Groups* const result = [] {
    auto* made = new Groups;
    made->all.push_back(std::make_unique<Alone>());
    return made;
  }();
  return *result;
}

} // namespace

void ProcessGroup::encode(
    CollectiveOp, Dtype, const void*, void*, const CollectiveParams&, DeviceQueue&) {
  fail<std::runtime_error>("[distributed] the group's operations do not run on a device's queue.");
}

ProcessGroup& process_group(int number) {
  Groups& known = groups();
  std::lock_guard lock(known.mutex);
  if (number < 0 || static_cast<size_t>(number) >= known.all.size()) {
    fail<ValueError>("[distributed] group ", number, ", expected one that this process is in.");
  }
  if (number != kAlone && known.process != getpid()) {
    fail<std::runtime_error>(
        "[distributed] group ", number, " in a child after fork(), which has no part in it.");
  }
  return *known.all[static_cast<size_t>(number)];
}

int add_process_group(std::unique_ptr<ProcessGroup> group) {
  Groups& known = groups();
  std::lock_guard lock(known.mutex);
  known.all.push_back(std::move(group));
  return static_cast<int>(known.all.size()) - 1;
}

} // namespace narrows
