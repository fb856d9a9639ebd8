// The order in which nodes were recorded, for those who choose an order for them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace narrows {

class Node;

// Numbers that grow in the order in which the nodes were recorded. Empty if one of them is not
// pending.
std::vector<uint32_t> record_places(std::span<Node* const> nodes);

} // namespace narrows
