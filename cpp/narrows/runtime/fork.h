// What keeps a child after fork() from waiting for threads and locks that only its parent has.
#pragma once

#include <mutex>

namespace narrows {

// 0 in the first process; one more in each generation of children.
int fork_generation();

// Holds the locks of the allocator and the graph over fork(), so that a child finds them free.
// `inner` is taken after `outer`. Called once, before the first evaluation.
void hold_over_fork(std::mutex& outer, std::mutex& inner);

} // namespace narrows
