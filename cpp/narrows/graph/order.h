// Settings of the order in which graphs are evaluated.
#pragma once

#include <cstdint>

namespace narrows {

// The width of new evaluations of this thread: the innermost scope's, else the one set for the
// process, else NARROWS_BFS_MAX_WIDTH, else MLX_BFS_MAX_WIDTH, else 20.
int64_t bfs_max_width();

// Sets it for the process and returns the previous value. ValueError if width < 1.
int64_t set_bfs_max_width(int64_t width);

// Sets the width of this thread while it lives.
class BfsMaxWidthScope {
 public:
  explicit BfsMaxWidthScope(int64_t width);
  ~BfsMaxWidthScope();
  BfsMaxWidthScope(const BfsMaxWidthScope&) = delete;
  BfsMaxWidthScope& operator=(const BfsMaxWidthScope&) = delete;

 private:
  int64_t previous_;
};

} // namespace narrows
