// How a call of a kernel becomes dispatches of metal_kernels/, on all GPU backends: which variants
// of the kernel, how many threadgroups, and which parameters. Each family has a file here with a
// row that knows this.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "narrows/core/divided_up.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_id.h"
#include "narrows/runtime/backend.h"

namespace narrows::gpu {

// An operand of a dispatch: an operand of the call, or its scratch, from some byte on.
struct Place {
  uint32_t operand; // its number among the call's, or kScratch
  int64_t offset = 0;
};
inline constexpr uint32_t kScratch = UINT32_MAX;

// Places are bound as buffers 0, 1, ... in their order. The parameters come behind them.
struct Dispatch {
  std::string kernel; // its name in the library
  std::array<uint32_t, 3> groups{1, 1, 1};
  uint32_t threads = 0; // per threadgroup, a multiple of 32
  // A matrix product, which a library may compute instead: both factors and the result in this
  // order, and MatmulTileParams.
  bool is_product = false;
  size_t place_count = 0;
  size_t written = 1; // the last places, which the kernel writes
  std::array<Place, kMostOperands> places;
  alignas(16) std::array<std::byte, 3072> params;
  size_t params_size = 0;

  void set_places(std::initializer_list<Place> list) {
    place_count = list.size();
    std::copy(list.begin(), list.end(), places.begin());
  }
  template <typename T>
  void set_params(const T& value) {
    static_assert(sizeof(T) <= sizeof(params));
    std::memcpy(params.data(), &value, sizeof(T));
    params_size = sizeof(T);
  }
  template <typename T>
  T params_as() const {
    T result;
    std::memcpy(&result, params.data(), sizeof(T));
    return result;
  }
  // Sets the number of threadgroups. RuntimeError if a grid cannot have so many.
  void set_groups(int64_t count);
  // Sets the least number of threads, in threadgroups of `in_group`.
  void set_threads(int64_t threads, uint32_t in_group = 256);
};

// A list of dispatches. The next list uses the memory of its elements again.
class Dispatches {
 public:
  // Appends a dispatch over the call's operands.
  Dispatch& add(const std::string& kernel, size_t operands);
  void clear() {
    size_ = 0;
  }
  std::span<const Dispatch> all() const {
    return {dispatches_.data(), size_};
  }

 private:
  std::vector<Dispatch> dispatches_;
  size_t size_ = 0;
};

// A call, as rows get it.
struct Call {
  const KernelId& kernel;
  // The addresses of operands on the device; rows look at their alignment.
  std::span<const std::uintptr_t> addresses;
  std::span<const std::byte> params;

  template <typename T>
  T params_as() const {
    T result;
    std::memcpy(&result, params.data(), sizeof(T));
    return result;
  }
};

// How GPUs run the kernels of a family.
struct Row {
  // The part that the names of all its variants share.
  std::string (*name)(const KernelId& kernel);
  // The rest of the name of the variant for operands of any layout. The call is possible if the
  // library has that kernel.
  const char* general;
  void (*dispatch)(const Call& call, Dispatches& dispatches);
  Backend::Scratch scratch = nullptr;
};

// The rows, each beside its family's code.
#define NARROWS_DECLARE_kernels(name) extern const Row name##_row;
#define NARROWS_DECLARE_none(name)
#define FAMILY(name, Params, inputs, outputs, gpu) NARROWS_DECLARE_##gpu(name)
#include "metal_kernels/families.def"

// nullptr if GPUs have no kernels of the family.
const Row* row_of(KernelFamily family);

// The shared part of the name. It is kept, because making a name takes longer than making a call.
const std::string& base_name(const KernelId& kernel);
std::string general_name(const KernelId& kernel);
// Whether a library has the kernel, as exists(name) tells. The latest answers are kept: they are
// needed for each node, and making a name takes longer than making a node.
template <typename Exists>
bool has_kernel(const KernelId& kernel, Exists&& exists) {
  struct Answer {
    uint64_t key = UINT64_MAX;
    bool has = false;
  };
  static thread_local std::array<Answer, 256> answers;
  const uint64_t key = kernel.key();
  Answer& answer = answers[key * 0x9e3779b97f4a7c15 >> 56];
  if (answer.key != key) {
    answer = {key, row_of(kernel.family) && exists(general_name(kernel))};
  }
  return answer.has;
}
inline Backend::Scratch scratch_of(KernelFamily family) {
  return row_of(family) ? row_of(family)->scratch : nullptr;
}

// Helpers of rows.
inline constexpr int64_t kMostGroups = INT32_MAX; // of a grid
inline constexpr int64_t kVectorBytes = 16;
inline constexpr uint32_t kThreads = 256; // of most threadgroups
inline constexpr int64_t kLanes = 32;
inline bool is_aligned(std::uintptr_t address) {
  return address % kVectorBytes == 0;
}
// How many threads of a group reduce a row, or a piece of one: so many that each has the four loads
// in flight that the kernel starts together, of `at_once` elements each.
uint32_t row_threads(int64_t length, int64_t at_once);
// The type that elements are moved as, by their size alone.
Dtype unsigned_of_size(Dtype dtype);

// Calls encode(dispatch, operands) for each dispatch of the call that has threadgroups.
// address_of(operand) is the address of an operand on the device.
template <typename AddressOf, typename Encode>
void for_each_dispatch(const KernelCall& call, AddressOf&& address_of, Encode&& encode) {
  static thread_local Dispatches dispatches;
  std::array<std::uintptr_t, kMostOperands> addresses;
  for (size_t i = 0; i < call.operands.size(); ++i) {
    addresses[i] = address_of(call.operands[i]);
  }
  const Row* row = row_of(call.kernel.family);
  if (!row) {
    fail<std::runtime_error>("[gpu] there is no kernel ", name_of(call.kernel));
  }
  dispatches.clear();
  row->dispatch({call.kernel, {addresses.data(), call.operands.size()}, call.params}, dispatches);
  for (const Dispatch& dispatch : dispatches.all()) {
    if (dispatch.groups[0] == 0) {
      continue;
    }
    std::array<Operand, kMostOperands> operands;
    for (size_t i = 0; i < dispatch.place_count; ++i) {
      const Place& place = dispatch.places[i];
      operands[i] = place.operand == kScratch ? call.scratch : call.operands[place.operand];
      operands[i].offset += place.offset;
    }
    encode(dispatch, std::span<const Operand>(operands.data(), dispatch.place_count));
  }
}

} // namespace narrows::gpu
