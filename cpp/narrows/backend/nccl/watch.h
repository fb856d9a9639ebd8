// A thread that looks after the operations of groups that are on a GPU's stream.
#pragma once

namespace narrows::nccl {

class NcclGroup;

// From now on, until unwatch(), the thread calls look_after() of the group now and then.
void watch(NcclGroup* group);
void unwatch(NcclGroup* group);
void unwatch_all();

} // namespace narrows::nccl
