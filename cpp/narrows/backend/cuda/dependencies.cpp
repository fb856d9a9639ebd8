#include "narrows/backend/cuda/dependencies.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace narrows::cuda {

void Dependencies::add(std::span<const BlockUse> uses, uint16_t kind) {
  const auto piece = static_cast<uint32_t>(lane_of_.size());
  Waits waits = waits_of(uses);
  const size_t lane = choose_lane(waits);
  waits[lane] = std::exchange(lanes_[lane], piece);
  lane_of_.push_back(static_cast<uint8_t>(lane));
  const size_t head = shape_.size();
  shape_.push_back(0);
  std::copy_if(waits.begin(), waits.end(), std::back_inserter(shape_), [](uint32_t before) {
    return before != kNobody;
  });
  shape_[head] = uint32_t{kind} << 16 | static_cast<uint32_t>(shape_.size() - head - 1);
  note(uses, piece);
}

Dependencies::Waits Dependencies::waits_of(std::span<const BlockUse> uses) const {
  Waits waits;
  waits.fill(kNobody);
  const auto wait_for = [&](uint32_t piece) {
    uint32_t& latest = waits[lane_of_[piece]];
    latest = latest == kNobody ? piece : std::max(latest, piece);
  };
  for (const BlockUse& use : uses) {
    const auto found = blocks_.find(use.block);
    if (found == blocks_.end()) {
      continue;
    }
    if (found->second.writer != kNobody) {
      wait_for(found->second.writer);
    }
    if (use.is_written) {
      std::for_each(found->second.readers.begin(), found->second.readers.end(), wait_for);
    }
  }
  return waits;
}

// The lane of a piece that is waited for and has no other piece behind it; else a new lane. If
// there is none left: the lane of the latest piece that is waited for, so that no other lane has to
// wait, or else the lane whose latest piece is the oldest.
size_t Dependencies::choose_lane(const Waits& waits) {
  size_t latest = kMostLanes;
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (waits[lane] == lanes_[lane]) {
      return lane;
    }
    if (waits[lane] != kNobody && (latest == kMostLanes || waits[lane] > waits[latest])) {
      latest = lane;
    }
  }
  if (lanes_.size() < kMostLanes) {
    lanes_.push_back(kNobody);
    return lanes_.size() - 1;
  }
  if (latest < kMostLanes) {
    return latest;
  }
  return static_cast<size_t>(std::min_element(lanes_.begin(), lanes_.end()) - lanes_.begin());
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
  lane_of_.clear();
  lanes_.clear();
  blocks_.clear();
}

} // namespace narrows::cuda
