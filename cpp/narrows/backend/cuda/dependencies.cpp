#include "narrows/backend/cuda/dependencies.h"

#include <algorithm>

namespace narrows::cuda {

void Dependencies::add(std::span<const BlockUse> uses, uint16_t kind) {
  const size_t head = shape_.size();
  shape_.push_back(0);
  for (const BlockUse& use : uses) {
    const Block& block = blocks_[use.block];
    if (block.writer != kNobody) {
      shape_.push_back(block.writer);
    }
    if (use.is_written) {
      shape_.insert(shape_.end(), block.readers.begin(), block.readers.end());
    }
  }
  const auto first = shape_.begin() + static_cast<std::ptrdiff_t>(head) + 1;
  std::sort(first, shape_.end());
  shape_.erase(std::unique(first, shape_.end()), shape_.end());
  uint32_t& latest = lane_of({first, shape_.end()});
  const auto place = std::lower_bound(first, shape_.end(), latest);
  if (latest != kNobody && (place == shape_.end() || *place != latest)) {
    shape_.insert(place, latest);
  }
  shape_[head] = uint32_t{kind} << 16 | static_cast<uint32_t>(shape_.size() - head - 1);
  latest = pieces_++;
  note(uses, latest);
}

// The next piece's: behind a piece that it waits for, else one where nothing is, else the one that
// has waited longest for more.
uint32_t& Dependencies::lane_of(std::span<const uint32_t> waits) {
  const auto behind = std::find_if(lanes_.begin(), lanes_.end(), [&](uint32_t latest) {
    return std::binary_search(waits.begin(), waits.end(), latest);
  });
  if (behind != lanes_.end()) {
    return *behind;
  }
  if (lanes_.size() < kMostLanes) {
    return lanes_.emplace_back(kNobody);
  }
  return *std::min_element(lanes_.begin(), lanes_.end());
}

void Dependencies::note(std::span<const BlockUse> uses, uint32_t piece) {
  for (const BlockUse& use : uses) {
    Block& block = blocks_[use.block];
    if (use.is_written) {
      block.writer = piece;
      block.readers.clear();
    } else if (block.writer != piece) {
      block.readers.push_back(piece);
    }
  }
}

void Dependencies::clear() {
  shape_.clear();
  pieces_ = 0;
  lanes_.clear();
  blocks_.clear();
}

} // namespace narrows::cuda
