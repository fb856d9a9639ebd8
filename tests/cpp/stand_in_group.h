// A group of processes in which this one is alone, and which notes what it is asked to do.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "metal_kernels/collective.h"
#include "narrows/runtime/process_group.h"

namespace narrows {

// Results are those of a group whose other processes have the same arrays of zeros.
class StandInGroup final : public ProcessGroup {
 public:
  // The number of a new one. Its object lasts until the process ends.
  static int make(int rank, int size, StandInGroup** object = nullptr) {
    auto group = std::make_unique<StandInGroup>();
    group->rank_ = rank;
    group->size_ = size;
    if (object) {
      *object = group.get();
    }
    return add_process_group(std::move(group));
  }

  int rank() const override {
    return rank_;
  }
  int size() const override {
    return size_;
  }
  void run(
      CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& p) override {
    done.push_back({op, p});
    if (fails) {
      throw std::runtime_error("[stand-in] fails");
    }
    const int64_t bytes = p.count * size_of(dtype);
    const int64_t result = op == CollectiveOp::all_gather    ? bytes * size_
                           : op == CollectiveOp::sum_scatter ? bytes / size_
                                                             : bytes;
    if (in != out) {
      std::memset(out, 0, static_cast<size_t>(result));
    }
  }
  int split(int, int) override {
    return make(0, 1);
  }
  bool holds_memory() const override {
    return holds;
  }
  bool has(CollectiveOp op, Dtype dtype) const override {
    return !lacks_extremes || !is_inexact(dtype) ||
           (op != CollectiveOp::all_max && op != CollectiveOp::all_min);
  }

  struct Done {
    CollectiveOp op;
    CollectiveParams params;
  };
  std::vector<Done> done;
  bool fails = false;
  bool holds = false;
  bool lacks_extremes = false; // of floating-point numbers

 private:
  int rank_ = 0;
  int size_ = 1;
};

} // namespace narrows
