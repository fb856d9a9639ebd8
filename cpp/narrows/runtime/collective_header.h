// What processes tell each other before they communicate, and how that is put in words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metal_kernels/collective.h"
#include "narrows/core/dtype.h"

namespace narrows {

// What a process is about to do. Processes exchange these before the data of an operation. So each
// of them sees if others do something else, or do not come.
struct Header {
  int32_t op; // a CollectiveOp, or one of the following
  int32_t dtype;
  int64_t sequence; // how many operations of all its processes the group has begun
  int64_t shape[COLLECTIVE_DIMENSIONS];
  int32_t ndim;

  static constexpr int32_t kSplit = 100;
  static constexpr int32_t kEnd = 101;
  static constexpr int32_t kInit = 102;

  static Header of(int32_t op, Dtype dtype, int64_t sequence, const CollectiveParams& params);
};

// Headers come from other processes: numbers that mean nothing have names, too.
std::string_view name_of_op(const Header& header);
// "all_sum of float32 (2, 3)"
std::string text_of(const Header& header);
bool is_same_array(const Header& a, const Header& b);
// Whether both are the same operation of all processes.
bool is_same_operation(const Header& a, const Header& b);

// "rank 1", "ranks 1, 2"
std::string text_of_ranks(const std::vector<int>& ranks);
// "[all_sum] rank 0 of 2"
std::string text_of_place(const Header& mine, int rank, int size);

// The errors of operations that processes do not agree about. `others` says what others ask for.
std::string text_of_mismatch(const Header& mine, int rank, int size, std::string_view others);
std::string text_of_peer_mismatch(
    const Header& mine, int rank, int size, const Header& theirs, int peer);
// That of one for which some did not come.
std::string text_of_late(
    const Header& mine, int rank, int size, double seconds, const std::vector<int>& missing);

} // namespace narrows
