// What keeps a child after fork() from waiting for threads and locks that only its parent has.
#pragma once

#include <initializer_list>
#include <mutex>

namespace narrows {

// 0 in the first process; one more in each generation of children.
int fork_generation();

// Holds locks over fork(), so that a child finds them free: in the order in which they are taken
// where several are held at once. Called once.
void hold_over_fork(std::initializer_list<std::mutex*> locks);

} // namespace narrows
