#include "narrows/walk/linearize.h"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <string>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/run/evaluate.h"
#include "null_device.h"

namespace narrows {
namespace {

bool is_leaf(const Node* node) {
  return node->status() != Status::lazy;
}

Tape tape_of(const std::vector<array>& outputs, int64_t width) {
  Tape tape;
  std::lock_guard lock(graph_mutex());
  linearize(outputs, is_leaf, width, tape);
  return tape;
}

// The tape as letters, by the arrays' places in `names`.
std::string letters(const Tape& tape, const std::vector<array>& names) {
  std::string text;
  for (const Node* node : tape) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i].node() == node) {
        text += static_cast<char>('a' + i);
      }
    }
  }
  return text;
}

class Linearize : public NullDevice {};

// a   b   c   d     four leaves' worth of nodes
//  \ /     \ /
//   e       f
//    \     /
//       g
TEST_F(Linearize, OrdersATreeByWidth) {
  std::vector<array> n;
  for (int i = 0; i < 4; ++i) {
    n.push_back(zeros({2}));
  }
  n.push_back(add(n[0], n[1]));
  n.push_back(add(n[2], n[3]));
  n.push_back(add(n[4], n[5]));
  // Depth-first from the first input: g, e, a, then the parked nodes' further inputs.
  EXPECT_EQ(letters(tape_of({n[6]}, 1), n), "dcfbaeg");
  // Breadth-first: g, e, f, a, b, c, d.
  EXPECT_EQ(letters(tape_of({n[6]}, kUnlimitedWidth), n), "dcbafeg");
  // With 2: e is taken while f waits, so one input of e joins and e is parked; the same with f.
  EXPECT_EQ(letters(tape_of({n[6]}, 2), n), "bdcafeg");
}

TEST_F(Linearize, SharedNodeComesBeforeAllItsConsumers) {
  const array a = zeros({2});
  const array b = exp(a);
  const array c = add(a, b);
  const array d = add(b, c);
  for (int64_t width : {int64_t{1}, int64_t{2}, int64_t{20}, kUnlimitedWidth}) {
    EXPECT_EQ(letters(tape_of({d, b}, width), {a, b, c, d}), "abcd");
  }
}

TEST_F(Linearize, StopsAtLeavesAndAtEvaluatedArrays) {
  const array a = zeros({2});
  const array b = exp(a);
  const array c = exp(b);
  eval(b);
  EXPECT_EQ(letters(tape_of({c}, 20), {a, b, c}), "c");
  eval(c);
  EXPECT_TRUE(tape_of({c}, 20).empty());
  EXPECT_TRUE(tape_of({}, 20).empty());
}

TEST_F(Linearize, ListsARepeatedOutputOnce) {
  const array a = zeros({2});
  EXPECT_EQ(letters(tape_of({a, a, a}, 1), {a}), "a");
}

// The definition of the order, written a second time as plainly as possible.
std::vector<Node*> reference_order(const std::vector<array>& outputs, size_t width) {
  std::map<Node*, std::vector<Node*>> inputs; // nullptr: the root
  std::map<Node*, int> edges;
  for (const array& output : outputs) {
    inputs[nullptr].push_back(output.node());
  }
  std::deque<Node*> unseen{nullptr};
  while (!unseen.empty()) {
    Node* node = unseen.front();
    unseen.pop_front();
    if (node && !inputs.contains(node)) {
      for (uint32_t i = 0; i < node->input_count(); ++i) {
        inputs[node].push_back(node->inputs()[i].node());
      }
    }
    for (Node* input : inputs[node]) {
      if (!is_leaf(input) && edges[input]++ == 0) {
        unseen.push_back(input);
      }
    }
  }
  std::vector<Node*> tape{nullptr};
  std::vector<std::pair<Node*, size_t>> parked;
  size_t i = 0;
  while (i < tape.size() || !parked.empty()) {
    Node* node;
    size_t next = 0;
    if (i < tape.size()) {
      node = tape[i++];
    } else {
      std::tie(node, next) = parked.back();
      parked.pop_back();
    }
    for (; next < inputs[node].size(); ++next) {
      Node* input = inputs[node][next];
      if (is_leaf(input)) {
        continue;
      }
      if (tape.size() - i >= width) {
        parked.emplace_back(node, next);
        break;
      }
      if (--edges[input] == 0) {
        tape.push_back(input);
      }
    }
  }
  return {tape.rbegin(), tape.rend() - 1};
}

TEST_F(Linearize, MatchesTheContractOnRandomGraphs) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<array> all;
    const int nodes = 1 + static_cast<int>(random() % 60);
    for (int i = 0; i < nodes; ++i) {
      const auto any = [&] { return all[random() % all.size()]; };
      if (all.empty() || random() % 5 == 0) {
        all.push_back(zeros({2}));
      } else if (random() % 3 == 0) {
        all.push_back(where(any(), any(), any()));
      } else {
        all.push_back(add(any(), any()));
      }
    }
    if (random() % 4 == 0) {
      eval(all[random() % all.size()]);
    }
    std::vector<array> outputs;
    for (size_t i = 0; i < 1 + random() % 4; ++i) {
      outputs.push_back(all[random() % all.size()]);
    }
    const size_t width = 1 + random() % 8;
    EXPECT_EQ(tape_of(outputs, static_cast<int64_t>(width)), reference_order(outputs, width));
  }
}

TEST_F(Linearize, WalksAndDestroysLongChains) {
  array x = zeros({2});
  for (int i = 0; i < 1'000'000; ++i) {
    x = negative(x);
  }
  EXPECT_EQ(tape_of({x}, 20).size(), 1'000'001u);
  x = array();
}

TEST_F(Linearize, EvaluatesLongChains) {
  array x = zeros({2});
  for (int i = 0; i < 1'000'000; ++i) {
    x = negative(x);
  }
  eval(x);
  EXPECT_EQ(peak(), 64); // every node overwrites its input
}

} // namespace
} // namespace narrows
