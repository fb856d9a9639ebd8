// What all code that calls oneDNN shares. Include it only if NARROWS_HAS_ONEDNN is true.
#pragma once

#include <omp.h>
#include <dnnl.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "narrows/core/dtype.h"

namespace narrows::cpu::onednn {

// oneDNN uses as many threads as OpenMP's setting of the calling thread says. This sets it to ours,
// for NARROWS_NUM_THREADS, and for a child after fork(), which has only one thread.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~ThreadScope() {
    omp_set_num_threads(before_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

inline const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

inline dnnl::memory::data_type type_of(Dtype dtype) {
  using Type = dnnl::memory::data_type;
  return dtype == Dtype::float32 ? Type::f32 : dtype == Dtype::float16 ? Type::f16 : Type::bf16;
}

// A thread's latest requests and their answers, the newest first. Preparing code takes microseconds
// to milliseconds. oneDNN itself shares generated code between threads.
template <typename Request, typename Ready, size_t most>
class Answers {
 public:
  // The answer to a request; calls make() if there is none yet.
  template <typename Make>
  std::shared_ptr<const Ready> find_or_make(const Request& request, Make&& make) {
    const auto found = std::find_if(answers_.begin(), answers_.end(), [&](const Answer& answer) {
      return answer.request == request;
    });
    if (found != answers_.end()) {
      std::rotate(answers_.begin(), found, found + 1);
      return answers_.front().ready;
    }
    std::shared_ptr<const Ready> ready = make();
    if (answers_.size() == most) {
      answers_.pop_back();
    }
    answers_.insert(answers_.begin(), {request, ready});
    return ready;
  }

 private:
  struct Answer {
    Request request;
    std::shared_ptr<const Ready> ready;
  };
  std::vector<Answer> answers_;
};

} // namespace narrows::cpu::onednn
