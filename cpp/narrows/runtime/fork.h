// Keeps a child after fork() from waiting for threads and locks that only its parent has.
#pragma once

#include <mutex>
#include <vector>

namespace narrows {

// 0 in the first process; one more in each generation of children.
int fork_generation();

// Holds these locks during fork(), so that the child finds them free. They are given in the order
// in which threads take them; another order could deadlock. Called once, before the first
// evaluation.
void hold_over_fork(std::vector<std::mutex*> outer_to_inner);

} // namespace narrows
