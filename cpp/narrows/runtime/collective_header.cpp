#include "narrows/runtime/collective_header.h"

#include <algorithm>

#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/core/shape.h"

namespace narrows {

Header Header::of(int32_t op, Dtype dtype, int64_t sequence, const CollectiveParams& params) {
  Header header{};
  header.op = op;
  header.dtype = static_cast<int32_t>(dtype);
  header.sequence = sequence;
  header.ndim = params.ndim;
  std::copy(std::begin(params.shape), std::end(params.shape), header.shape);
  return header;
}

std::string_view name_of_op(const Header& h) {
  switch (h.op) {
    case Header::kSplit:
      return "split";
    case Header::kEnd:
      return "end";
    case Header::kInit:
      return "init";
    default:
      return h.op >= 0 && h.op < 256
                 ? operation_name(KernelFamily::collective, static_cast<uint8_t>(h.op))
                 : "an unknown operation";
  }
}

std::string text_of(const Header& h) {
  if (h.op == Header::kEnd) {
    return "the end of the process";
  }
  if (h.op == Header::kSplit || h.op == Header::kInit) {
    return std::string(name_of_op(h));
  }
  const int ndim = std::clamp(h.ndim, 0, COLLECTIVE_DIMENSIONS);
  const bool is_dtype = h.dtype >= 0 && h.dtype < kDtypeCount;
  return concat_message(
      name_of_op(h),
      " of ",
      is_dtype ? name_of(static_cast<Dtype>(h.dtype)) : "an unknown dtype",
      " ",
      to_string(Shape(h.shape, h.shape + ndim)),
      ndim < h.ndim ? concat_message(" of ", h.ndim, " dimensions") : "");
}

bool is_same_array(const Header& a, const Header& b) {
  return a.dtype == b.dtype && a.ndim == b.ndim &&
         std::equal(std::begin(a.shape), std::end(a.shape), std::begin(b.shape));
}

bool is_same_operation(const Header& a, const Header& b) {
  return a.op == b.op && a.sequence == b.sequence && is_same_array(a, b);
}

std::string text_of_ranks(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(ranks[i]);
  }
  return text;
}

std::string text_of_place(const Header& mine, int rank, int size) {
  return concat_message("[", name_of_op(mine), "] rank ", rank, " of ", size);
}

std::string text_of_mismatch(const Header& mine, int rank, int size, std::string_view others) {
  return concat_message(
      text_of_place(mine, rank, size),
      ": operation ",
      mine.sequence,
      " of the group is ",
      text_of(mine),
      " here, but ",
      others,
      ": expected the same in all processes.");
}

std::string text_of_peer_mismatch(
    const Header& mine, int rank, int size, const Header& theirs, int peer) {
  return concat_message(
      text_of_place(mine, rank, size),
      ": ",
      text_of(mine),
      " here, but ",
      text_of(theirs),
      " in rank ",
      peer,
      ": expected the same dtype and shape.");
}

std::string text_of_late(
    const Header& mine, int rank, int size, double seconds, const std::vector<int>& missing) {
  return concat_message(
      text_of_place(mine, rank, size),
      ": waited ",
      seconds,
      " s for ",
      missing.empty() ? "a message to leave" : text_of_ranks(missing) + " to come to it",
      " (",
      text_of(mine),
      ").");
}

} // namespace narrows
