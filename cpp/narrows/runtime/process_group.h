// Processes that compute together, and the engines that connect them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "narrows/core/dtype.h"
#include "narrows/core/kernel_families.h"

struct CollectiveParams; // metal_kernels/collective.h

namespace narrows {

// This process's place among others. Operations of one group run one after the other, in the same
// order in all of its processes.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Runs one operation, and returns when this process has its result. RuntimeError, with the rank
  // and the operation, if the other processes ask for something else, do not come in time, or end.
  virtual void run(
      CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& params) = 0;

  // The number of the group of those processes that name the same color, in the order of their
  // keys.
  virtual int split(int color, int key) = 0;

  // Whether an operation that failed may still use the memory that it was given. Then that must not
  // be freed.
  virtual bool holds_memory() const {
    return false;
  }
};

// The group that has this process alone.
inline constexpr int kAlone = 0;

// The group of this number. ValueError if there is none; RuntimeError in a child after fork(),
// which has no part in the groups of its parent.
ProcessGroup& process_group(int number);
// The number of a new group. Groups last until the process ends.
int add_process_group(std::unique_ptr<ProcessGroup> group);

// How an engine is looked for, and how long its operations wait for other processes.
struct EngineOptions {
  std::vector<std::string> libraries; // paths, tried before the names that it is known by
  double timeout = 600;               // seconds
};

// What connects processes.
struct Engine {
  const char* name;
  // Whether its library is there.
  bool (*is_available)(const EngineOptions& options);
  // Whether a launcher has started this process together with others.
  bool (*is_launched)();
  // The number of the group of all processes; always the same. RuntimeError if they cannot be
  // connected.
  int (*connect)(const EngineOptions& options);
  // Takes leave of the other processes, before this one ends.
  void (*end)();
};

// The engine of this name; nullptr if there is none.
const Engine* find_engine(std::string_view name);

} // namespace narrows
