// Processes that compute together, and the engines that connect them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "narrows/core/dtype.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/device.h"

struct CollectiveParams; // metal_kernels/collective.h

namespace narrows {

// The work of a device, for engines that put operations behind it.
class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  // Where operations are put, a cudaStream_t: behind all work that was encoded so far.
  virtual void* stream() = 0;
  // The answer says whether all that is on the stream by now has run. Any thread may ask.
  virtual std::function<bool()> mark() = 0;
  // An operation on the stream has failed, so what comes behind it is not to be trusted: from now
  // on all waits for the device raise RuntimeError with these words. On any thread.
  virtual void fail(const std::string& message) = 0;
};

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

  // The device whose arrays the operations take. Others are transferred.
  virtual Device::Type device() const {
    return Device::Type::cpu;
  }
  // The same as run() for a device that runs behind the host: returns when the operation is on the
  // queue. The addresses are the device's.
  virtual void encode(
      CollectiveOp op,
      Dtype dtype,
      const void* in,
      void* out,
      const CollectiveParams& params,
      DeviceQueue& queue);
  // Whether the engine computes this by itself. What it lacks is made of what it has: reductions
  // of int32 and int64, and all that only moves elements, are always there.
  virtual bool has(CollectiveOp, Dtype) const {
    return true;
  }

  // The number of the group of those processes that name the same color, in the order of their
  // keys.
  virtual int split(int color, int key) = 0;

  // Whether an operation that failed may still use the memory that it was given. Then that must not
  // be freed.
  virtual bool holds_memory() const {
    return false;
  }
};

// In kernel ids of collectives, as their mode: the group's operations run on a GPU's queue.
inline constexpr uint8_t kOnDeviceQueue = 1;
inline bool is_on_device_queue(const KernelId& kernel) {
  return kernel.family == KernelFamily::collective && kernel.mode == kOnDeviceQueue;
}

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

// The engine of this name; nullptr if there is none. Defined beside the list of backends.
const Engine* find_engine(std::string_view name);

} // namespace narrows
