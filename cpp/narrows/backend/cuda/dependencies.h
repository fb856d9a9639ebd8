// Which pieces of a batch wait for which.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace narrows::cuda {

// The use of one block of memory by a piece.
struct BlockUse {
  const void* block = nullptr;
  bool is_written = false;
};

// A piece waits for earlier pieces that write what it reads or writes, or read what it writes.
// Blocks are told apart by their memory, so this also holds for memory that was free in between and
// belongs to another array. Pieces stand in a few lanes, and each waits for the one before it in
// its lane.
class Dependencies {
 public:
  // A head for each piece, in order, followed by the pieces that it waits for: the latest one of
  // each lane, which has waited for those before it.
  using Shape = std::vector<uint32_t>;
  static constexpr size_t kMostLanes = 8;

  // Adds a piece. Its kind is part of its head.
  void add(std::span<const BlockUse> uses, uint16_t kind);
  void clear();

  const Shape& shape() const {
    return shape_;
  }
  // The number of pieces that follow the head of a piece.
  static uint32_t count_of(uint32_t head) {
    return head & 0xffff;
  }
  // The number of lanes: no more pieces than that run side by side.
  size_t width() const {
    return lanes_.size();
  }

 private:
  struct Block {
    uint32_t writer = kNobody;
    std::vector<uint32_t> readers; // since that write
  };
  static constexpr uint32_t kNobody = UINT32_MAX;

  using Waits = std::array<uint32_t, kMostLanes>; // the piece of each lane, or kNobody

  Waits waits_of(std::span<const BlockUse> uses) const;
  size_t choose_lane(const Waits& waits);
  void note(std::span<const BlockUse> uses, uint32_t piece);

  Shape shape_;
  std::vector<uint8_t> lane_of_; // by piece
  std::vector<uint32_t> lanes_;  // the latest piece of each
  std::unordered_map<const void*, Block> blocks_;
};

} // namespace narrows::cuda
