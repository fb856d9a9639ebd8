// Graphs like those of programs, with arrays of megabytes. (The null backend allocates none of
// them.)
#pragma once

#include <random>
#include <vector>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/softmax.h"
#include "narrows/ops/strided.h"

namespace narrows::order_graphs {

using Arrays = std::vector<array>;

inline array evaluated(const Shape& shape) {
  const array a = zeros(shape);
  eval(a);
  return a;
}

// Short chains that get smaller.
inline Arrays casts() {
  Arrays outputs;
  for (int i = 0; i < 500; ++i) {
    outputs.push_back(astype(zeros({4096, 128}, int64), int8));
  }
  return outputs;
}

inline Arrays chains() {
  const array weights = evaluated({1024, 1024});
  Arrays outputs;
  for (int i = 0; i < 64; ++i) {
    array x = evaluated({256, 1024});
    for (int j = 0; j < 30; ++j) {
      x = j % 3 ? exp(x) : matmul(x, weights);
    }
    outputs.push_back(sum(x));
  }
  return outputs;
}

inline Arrays casts_and_reductions() {
  Arrays outputs;
  for (int i = 0; i < 200; ++i) {
    const array w = astype(zeros({1 + i % 4, 1024, 1024}), float64);
    const array highest = max(w, Axes{-1}, true);
    const array lowest = min(w, Axes{-1}, true);
    const array scaled = divide(subtract(w, lowest), subtract(highest, lowest));
    outputs.push_back(astype(scaled, int8));
    outputs.push_back(highest);
    outputs.push_back(lowest);
  }
  return outputs;
}

inline Arrays tree() {
  Arrays level;
  for (int i = 0; i < 512; ++i) {
    level.push_back(zeros({512, 1024}));
  }
  while (level.size() > 1) {
    Arrays next;
    for (size_t i = 0; i < level.size(); i += 2) {
      next.push_back(add(level[i], level[i + 1]));
    }
    level = std::move(next);
  }
  return {sum(level[0])};
}

inline Arrays uneven_tree() {
  std::mt19937 random(3);
  const auto shape = [&] { return Shape{static_cast<int64_t>(1 + random() % 2048), 256}; };
  Arrays open;
  for (int i = 0; i < 300; ++i) {
    open.push_back(zeros(shape()));
  }
  while (open.size() > 1) {
    array joined = zeros(shape());
    for (int i = 0; i < 3 && !open.empty(); ++i) {
      const size_t at = random() % open.size();
      joined = add(joined, sum(open[at], Axes{0}, true));
      open.erase(open.begin() + at);
    }
    open.push_back(joined);
  }
  return open;
}

// Many readers of one array, which are joined one after another.
inline Arrays fan_out() {
  array x = zeros({1024, 1024});
  for (int layer = 0; layer < 4; ++layer) {
    Arrays experts;
    for (int i = 0; i < 32; ++i) {
      const array hidden = exp(matmul(x, evaluated({1024, 4096})));
      experts.push_back(matmul(hidden, evaluated({4096, 1024})));
    }
    for (const array& expert : experts) {
      x = add(x, expert);
    }
  }
  return {x};
}

// Layers forward, then backward over the kept activations, with weight gradients that update
// parameters and moments. Only the graph holds the old parameters and moments.
inline Arrays training() {
  constexpr int kLayers = 24;
  Arrays weights, kept, outputs;
  array x = evaluated({2048, 512});
  for (int i = 0; i < kLayers; ++i) {
    weights.push_back(evaluated({512, 512}));
    kept.push_back(x);
    x = add(x, exp(matmul(x, weights.back())));
  }
  array gradient = multiply(x, x);
  for (int i = kLayers; i-- > 0;) {
    const array through = multiply(gradient, exp(kept[i]));
    const array of_weight = matmul(transpose(kept[i]), through);
    const array moment = add(evaluated({512, 512}), of_weight);
    outputs.push_back(subtract(weights[i], multiply(moment, moment)));
    outputs.push_back(moment);
    gradient = add(gradient, matmul(through, transpose(weights[i])));
  }
  return outputs;
}

inline Arrays attention() {
  array x = evaluated({4, 512, 768});
  const auto heads = [](const array& a) {
    return transpose(reshape(a, {4, 512, 12, 64}), {0, 2, 1, 3});
  };
  for (int layer = 0; layer < 6; ++layer) {
    const auto linear = [&](const array& a, int64_t from, int64_t to) {
      return matmul(a, evaluated({from, to}));
    };
    const array q = heads(linear(x, 768, 768));
    const array k = heads(linear(x, 768, 768));
    const array v = heads(linear(x, 768, 768));
    const array weights = softmax(matmul(q, transpose(k, {0, 1, 3, 2})), Axes{-1});
    const array mixed = reshape(transpose(matmul(weights, v), {0, 2, 1, 3}), {4, 512, 768});
    x = add(x, linear(mixed, 768, 768));
    x = add(x, linear(exp(linear(x, 768, 3072)), 3072, 768));
  }
  return {x};
}

// Nodes with several outputs: gates of a recurrent network, whose state is kept.
inline Arrays gates() {
  const array weights = evaluated({1024, 4096});
  array state = evaluated({512, 1024});
  Arrays outputs;
  for (int step = 0; step < 50; ++step) {
    const Arrays gates = split(matmul(state, weights), 4, 1);
    state = add(multiply(gates[0], exp(gates[1])), multiply(gates[2], exp(gates[3])));
    if (step % 10 == 0) {
      outputs.push_back(state);
    }
  }
  outputs.push_back(state);
  return outputs;
}

// A deep network. Each layer leaves a number.
inline Arrays metrics() {
  array x = zeros({64, 65536});
  Arrays outputs;
  for (int layer = 0; layer < 100; ++layer) {
    x = softmax(x, Axes{-1});
    outputs.push_back(sum(multiply(x, x)));
    x = exp(x);
  }
  outputs.push_back(sum(x));
  return outputs;
}

// One token through a network with a cache that is updated in place.
inline Arrays decode() {
  array x = evaluated({1, 2048});
  Arrays outputs;
  for (int layer = 0; layer < 16; ++layer) {
    const auto linear = [&](const array& a, int64_t from, int64_t to) {
      return matmul(a, evaluated({from, to}));
    };
    const array key = linear(x, 2048, 512);
    const array cache = slice_update(evaluated({4096, 512}), key, {7, 0}, {8, 512}, {1, 1});
    const array scores = softmax(matmul(linear(x, 2048, 512), transpose(cache)), Axes{-1});
    x = add(x, linear(matmul(scores, cache), 512, 2048));
    x = add(x, linear(multiply(linear(x, 2048, 8192), exp(linear(x, 2048, 8192))), 8192, 2048));
    outputs.push_back(cache);
  }
  outputs.push_back(x);
  return outputs;
}

inline Arrays random_dag() {
  std::mt19937 random(5);
  Arrays all;
  std::vector<bool> used;
  for (size_t i = 0; i < 1500; ++i) {
    const auto any = [&] {
      const size_t at = i - 1 - random() % std::min<size_t>(i, 80);
      used[at] = true;
      return all[at];
    };
    const Shape shape{int64_t{1} << random() % 11, 1024};
    if (i < 4 || random() % 6 == 0) {
      all.push_back(zeros(shape));
    } else if (random() % 3) {
      all.push_back(exp(any()));
    } else {
      all.push_back(add(zeros(shape), sum(add(sum(any()), sum(any())))));
    }
    used.push_back(false);
  }
  Arrays outputs;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!used[i]) {
      outputs.push_back(random() % 3 ? sum(all[i]) : all[i]);
    }
  }
  return outputs;
}

struct Kind {
  const char* name;
  Arrays (*make)();
};

inline constexpr Kind kKinds[] = {
    {"casts", casts},
    {"chains", chains},
    {"casts_and_reductions", casts_and_reductions},
    {"tree", tree},
    {"uneven_tree", uneven_tree},
    {"fan_out", fan_out},
    {"training", training},
    {"attention", attention},
    {"gates", gates},
    {"metrics", metrics},
    {"decode", decode},
    {"random_dag", random_dag},
};

} // namespace narrows::order_graphs
