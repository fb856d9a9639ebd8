// MaxTree: numbers with two operations on ranges: add to all numbers, and find the highest.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace narrows {

// A segment tree, walked from the leaves up. What is added to a node's whole range is kept at the
// node.
class MaxTree {
 public:
  static constexpr int64_t kLowest = INT64_MIN / 4;

  explicit MaxTree(const std::vector<int64_t>& numbers) {
    // One leaf at either end is free, because ranges are walked between the leaves beside them.
    while (leaves_ < numbers.size() + 2) {
      leaves_ *= 2;
    }
    highest_.assign(2 * leaves_, kLowest);
    added_.assign(leaves_, 0);
    std::copy(numbers.begin(), numbers.end(), highest_.begin() + leaves_ + 1);
    for (size_t i = leaves_ - 1; i > 0; --i) {
      highest_[i] = std::max(highest_[2 * i], highest_[2 * i + 1]);
    }
  }

  // Adds to the numbers from first to last - 1.
  void add(size_t first, size_t last, int64_t number) {
    if (first >= last || number == 0) {
      return;
    }
    size_t left = leaves_ + first;
    size_t right = leaves_ + last + 1;
    for (; (left ^ right) != 1; left /= 2, right /= 2, update(left), update(right)) {
      if (left % 2 == 0) {
        add_to(left + 1, number);
      }
      if (right % 2 == 1) {
        add_to(right - 1, number);
      }
    }
    for (left /= 2; left > 0; left /= 2) {
      update(left);
    }
  }

  // The highest of the numbers from first to last - 1; kLowest if there are none.
  int64_t highest(size_t first, size_t last) const {
    if (first >= last) {
      return kLowest;
    }
    int64_t in_left = kLowest;
    int64_t in_right = kLowest;
    size_t left = leaves_ + first;
    size_t right = leaves_ + last + 1;
    for (; (left ^ right) != 1;) {
      if (left % 2 == 0) {
        in_left = std::max(in_left, highest_[left + 1]);
      }
      if (right % 2 == 1) {
        in_right = std::max(in_right, highest_[right - 1]);
      }
      left /= 2;
      right /= 2;
      in_left += added_[left];
      in_right += added_[right];
    }
    int64_t result = std::max(in_left, in_right);
    for (left /= 2; left > 0; left /= 2) {
      result += added_[left];
    }
    return result;
  }

  // The first `count` of the numbers. Valid until the next call.
  const std::vector<int64_t>& numbers(size_t count) {
    above_.resize(leaves_);
    above_[0] = 0;
    for (size_t i = 1; i < leaves_; ++i) {
      above_[i] = above_[i / 2] + added_[i];
    }
    numbers_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const size_t leaf = leaves_ + 1 + i;
      numbers_[i] = highest_[leaf] + above_[leaf / 2];
    }
    return numbers_;
  }

 private:
  void add_to(size_t i, int64_t number) {
    highest_[i] += number;
    if (i < leaves_) {
      added_[i] += number;
    }
  }
  void update(size_t i) {
    highest_[i] = std::max(highest_[2 * i], highest_[2 * i + 1]) + added_[i];
  }

  size_t leaves_ = 1;
  std::vector<int64_t> highest_; // of a node's range, with what was added to the node and below it
  std::vector<int64_t> added_;   // to a node's whole range
  std::vector<int64_t> above_;   // scratch: what was added to a node and to those above it
  std::vector<int64_t> numbers_; // the latest answer
};

} // namespace narrows
