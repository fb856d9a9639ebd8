#include "narrows/backend/emulated/engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "metal_kernels/compat/host_abi.h"
#include "narrows/backend/emulated/fiber.h"
#include "narrows/core/errors.h"

namespace narrows::emulated {
namespace {

using metal_emu::KernelInfo;
using metal_emu::Kind;
using metal_emu::Position;

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kLanes = 32;
constexpr size_t kDepositBytes = 64;
constexpr size_t kThreadgroupBytes = 32 * 1024; // Metal's limit
constexpr size_t kMostBuffers = 31;             // and its buffer indices
// Launches of fewer threads run on the calling thread.
constexpr uint64_t kThreadsWorthAThread = 8192;

struct OrderSetting {
  ThreadOrder order = ThreadOrder::forward;
  unsigned seed = 1;
};

OrderSetting& order_setting() {
  static OrderSetting setting = [] {
    OrderSetting initial;
    const char* text = std::getenv("NARROWS_EMULATED_ORDER");
    const std::string_view name = text ? text : "";
    if (name == "reverse") {
      initial.order = ThreadOrder::reverse;
    } else if (name == "random") {
      initial.order = ThreadOrder::random;
    }
    return initial;
  }();
  return setting;
}

enum class State : uint8_t { ready, at_barrier, in_simdgroup, done };

// The place where a thread waits.
struct Site {
  const char* function = "";
  const char* file = "";
  int line = 0;

  bool operator==(const Site& other) const {
    return line == other.line && std::strcmp(function, other.function) == 0 &&
           std::strcmp(file, other.file) == 0;
  }
};

std::string to_string(const Site& site) {
  const char* slash = std::strrchr(site.file, '/');
  return concat_message(site.function, " at ", slash ? slash + 1 : site.file, ":", site.line);
}

struct Worker;

struct Thread {
  State state;
  unsigned number; // in the threadgroup
  Site site;
  metal_emu::ThreadContext context;
  Fiber fiber;
  Worker* worker;
};

struct Simdgroup {
  unsigned arrived = 0;
  unsigned round =
      0; // deposits of two rounds are kept, because lanes may still read the last round's
  alignas(64) unsigned char deposits[2][kLanes * kDepositBytes];
};

struct ThreadgroupArray {
  size_t begin;
  const char* name;
};

// A launch, shared by its workers.
struct Dispatch {
  const Launch* launch;
  metal_emu::ThreadFunction function;
  void* buffers[kMostBuffers];
  OrderSetting order;
  uint64_t groups;
  std::atomic<uint64_t> next_group{0};
  std::mutex mutex;
  std::exception_ptr error;
};

// Runs threadgroups, one at a time.
struct Worker {
  Dispatch* dispatch = nullptr;
  std::vector<Thread> threads{kMostThreads};
  std::vector<Simdgroup> simdgroups{kMostThreads / kLanes};
  unsigned thread_count = 0;
  Thread* running = nullptr;
  std::vector<ThreadgroupArray> arrays;
  alignas(64) unsigned char threadgroup_memory[kThreadgroupBytes];
  std::exception_ptr failure;
  std::mt19937 random;
  std::vector<unsigned> order;
  char* stacks;

  Worker() {
    void* mapped = mmap(
        nullptr,
        kStackBytes * kMostThreads,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
        -1,
        0);
    if (mapped == MAP_FAILED) {
      throw std::bad_alloc();
    }
    stacks = static_cast<char*>(mapped);
  }
  ~Worker() {
    munmap(stacks, kStackBytes * kMostThreads);
  }

  void run_group(uint64_t number);

 private:
  void start_threads(uint64_t number);
  bool resume_ready();
  void pass_barrier();
  [[noreturn]] void report_deadlock() const;
};

thread_local Worker* current_worker = nullptr;

// Not inlined: a fiber must not keep the address of a thread-local variable of another OS thread.
__attribute__((noinline)) Thread& current_thread() {
  asm volatile("");
  return *current_worker->running;
}

void thread_main(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  try {
    thread->worker->dispatch->function(thread->context);
  } catch (...) {
    if (!thread->worker->failure) {
      thread->worker->failure = std::current_exception();
    }
  }
  thread->state = State::done;
  thread->fiber.finish();
}

void Worker::start_threads(uint64_t number) {
  const Launch& launch = *dispatch->launch;
  const uint32_t group[3] = {
      static_cast<uint32_t>(number % launch.groups[0]),
      static_cast<uint32_t>(number / launch.groups[0] % launch.groups[1]),
      static_cast<uint32_t>(number / launch.groups[0] / launch.groups[1])};
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread& thread = threads[i];
    thread.state = State::ready;
    thread.number = i;
    thread.worker = this;
    thread.context = {};
    thread.context.buffers = dispatch->buffers;
    const auto set = [&](Position position, unsigned x, unsigned y, unsigned z) {
      unsigned* value = thread.context.positions[static_cast<int>(position)];
      value[0] = x;
      value[1] = y;
      value[2] = z;
    };
    const auto& groups = launch.groups;
    set(Position::thread_position_in_grid, group[0] * thread_count + i, group[1], group[2]);
    set(Position::thread_position_in_threadgroup, i, 0, 0);
    set(Position::thread_index_in_threadgroup, i, 0, 0);
    set(Position::threadgroup_position_in_grid, group[0], group[1], group[2]);
    set(Position::threads_per_grid, groups[0] * thread_count, groups[1], groups[2]);
    set(Position::threads_per_threadgroup, thread_count, 1, 1);
    set(Position::threadgroups_per_grid, groups[0], groups[1], groups[2]);
    set(Position::thread_index_in_simdgroup, i % kLanes, 0, 0);
    set(Position::simdgroup_index_in_threadgroup, i / kLanes, 0, 0);
    set(Position::simdgroups_per_threadgroup, (thread_count + kLanes - 1) / kLanes, 0, 0);
    set(Position::threads_per_simdgroup, kLanes, 0, 0);
    thread.fiber.start(stacks + kStackBytes * i, kStackBytes, &thread_main, &thread);
  }
}

// Runs every thread that can run until it waits. Returns whether there was one.
bool Worker::resume_ready() {
  if (dispatch->order.order == ThreadOrder::random) {
    std::shuffle(order.begin(), order.end(), random);
  }
  bool progress = false;
  for (unsigned number : order) {
    Thread& thread = threads[number];
    if (thread.state == State::ready) {
      running = &thread;
      thread.fiber.resume();
      progress = true;
      if (failure) {
        std::rethrow_exception(failure);
      }
    }
  }
  return progress;
}

void Worker::pass_barrier() {
  for (unsigned i = 0; i < thread_count; ++i) {
    if (!(threads[i].site == threads[0].site)) {
      fail<std::runtime_error>(
          "threads of one threadgroup wait at different barriers: ",
          to_string(threads[0].site),
          " and ",
          to_string(threads[i].site));
    }
    threads[i].state = State::ready;
  }
}

void Worker::report_deadlock() const {
  const auto first = [&](State state) {
    return std::find_if(threads.begin(), threads.begin() + thread_count, [&](const Thread& t) {
      return t.state == state;
    });
  };
  const auto end = threads.begin() + thread_count;
  if (const auto lane = first(State::in_simdgroup); lane != end) {
    fail<std::runtime_error>(
        to_string(lane->site),
        " by lane ",
        lane->number % kLanes,
        " of simdgroup ",
        lane->number / kLanes,
        " was not reached by all 32 lanes");
  }
  const auto waiting = std::count_if(
      threads.begin(), end, [](const Thread& t) { return t.state == State::at_barrier; });
  fail<std::runtime_error>(
      to_string(first(State::at_barrier)->site),
      " was reached by ",
      waiting,
      " of ",
      thread_count,
      " threads");
}

void Worker::run_group(uint64_t number) {
  thread_count = dispatch->launch->threads;
  arrays.clear();
  failure = nullptr;
  for (unsigned i = 0; i * kLanes < thread_count; ++i) {
    simdgroups[i].arrived = 0;
    simdgroups[i].round = 0;
  }
  order.resize(thread_count);
  for (unsigned i = 0; i < thread_count; ++i) {
    order[i] = dispatch->order.order == ThreadOrder::reverse ? thread_count - 1 - i : i;
  }
  start_threads(number);
  for (;;) {
    const bool progress = resume_ready();
    const auto in_state = [&](State state) {
      return std::all_of(threads.begin(), threads.begin() + thread_count, [&](const Thread& t) {
        return t.state == state;
      });
    };
    if (in_state(State::done)) {
      return;
    }
    if (in_state(State::at_barrier)) {
      pass_barrier();
    } else if (!progress) {
      report_deadlock();
    }
  }
}

// Workers keep their stacks between launches.
class WorkerPool {
 public:
  std::unique_ptr<Worker> take() {
    std::lock_guard lock(mutex_);
    if (workers_.empty()) {
      return std::make_unique<Worker>();
    }
    std::unique_ptr<Worker> worker = std::move(workers_.back());
    workers_.pop_back();
    return worker;
  }
  void give(std::unique_ptr<Worker> worker) {
    std::lock_guard lock(mutex_);
    workers_.push_back(std::move(worker));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

void run_groups(Dispatch& dispatch) {
  static WorkerPool* pool = new WorkerPool;
  std::unique_ptr<Worker> worker = pool->take();
  worker->dispatch = &dispatch;
  worker->random.seed(dispatch.order.seed);
  Worker* const outer = std::exchange(current_worker, worker.get());
  try {
    for (uint64_t i = dispatch.next_group++; i < dispatch.groups; i = dispatch.next_group++) {
      const bool reverse = dispatch.order.order == ThreadOrder::reverse;
      worker->run_group(reverse ? dispatch.groups - 1 - i : i);
    }
  } catch (...) {
    std::lock_guard lock(dispatch.mutex);
    if (!dispatch.error) {
      dispatch.error = std::current_exception();
    }
    dispatch.next_group = dispatch.groups;
  }
  current_worker = outer;
  pool->give(std::move(worker));
}

void bind(const Launch& launch, Dispatch& dispatch) {
  std::fill(std::begin(dispatch.buffers), std::end(dispatch.buffers), nullptr);
  for (const metal_emu::Parameter& parameter : launch.kernel->parameters) {
    const auto index = static_cast<size_t>(parameter.index);
    if (index >= launch.buffers.size() || !launch.buffers[index].memory) {
      fail<std::runtime_error>("buffer(", index, ") is not bound");
    }
    const Binding& binding = launch.buffers[index];
    if (binding.bytes < static_cast<int64_t>(parameter.size)) {
      fail<std::runtime_error>(
          "buffer(",
          index,
          ") holds ",
          binding.bytes,
          " bytes, fewer than the ",
          parameter.size,
          " of one element");
    }
    const bool is_power = (parameter.size & (parameter.size - 1)) == 0;
    const size_t alignment = is_power ? std::min<size_t>(parameter.size, 16) : 4;
    if (reinterpret_cast<uintptr_t>(binding.memory) % alignment != 0) {
      fail<std::runtime_error>("buffer(", index, ") is not on a multiple of ", alignment, " bytes");
    }
    dispatch.buffers[index] = binding.memory;
  }
  if (launch.buffers.size() > launch.kernel->parameters.size()) {
    fail<std::runtime_error>(
        launch.buffers.size(),
        " buffers are bound, the kernel has ",
        launch.kernel->parameters.size());
  }
}

void run_checked(const Launch& launch) {
  if (launch.threads == 0 || launch.threads > kMostThreads) {
    fail<std::runtime_error>(launch.threads, " threads in a threadgroup, at most 1024 are allowed");
  }
  Dispatch dispatch;
  dispatch.launch = &launch;
  dispatch.function = reinterpret_cast<metal_emu::ThreadFunction>(launch.kernel->entry);
  dispatch.order = order_setting();
  dispatch.groups = uint64_t{launch.groups[0]} * launch.groups[1] * launch.groups[2];
  bind(launch, dispatch);
  const uint64_t wanted = dispatch.groups * launch.threads / kThreadsWorthAThread;
  const uint64_t helpers = std::min<uint64_t>(
      {wanted, dispatch.groups, std::max(1u, std::thread::hardware_concurrency()) - 1});
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < helpers; ++i) {
    threads.emplace_back([&] { run_groups(dispatch); });
  }
  run_groups(dispatch);
  for (std::thread& thread : threads) {
    thread.join();
  }
  if (dispatch.error) {
    std::rethrow_exception(dispatch.error);
  }
}

} // namespace

void set_thread_order(ThreadOrder order, unsigned seed) {
  order_setting() = {order, seed};
}

const KernelInfo* find_kernel(std::string_view name) {
  const auto& kernels = metal_emu::registry();
  const auto found = kernels.find(name);
  return found == kernels.end() ? nullptr : &found->second;
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const auto& [name, kernel] : metal_emu::registry()) {
    names.push_back(name);
  }
  return names;
}

void run(const Launch& launch) {
  try {
    run_checked(launch);
  } catch (const std::runtime_error& error) {
    fail<std::runtime_error>("[emulated gpu] ", launch.kernel->name, ": ", error.what());
  }
}

} // namespace narrows::emulated

// The functions that kernels call: compat/host_abi.h.
namespace metal_emu {

using namespace narrows::emulated;

void barrier(const char* file, int line) {
  Thread& thread = current_thread();
  thread.site = {"threadgroup_barrier", file, line};
  thread.state = State::at_barrier;
  thread.fiber.suspend();
}

const unsigned char* simd_exchange(
    const void* in, size_t size, const char* function, const char* file, int line) {
  Thread& thread = current_thread();
  Worker& worker = *thread.worker;
  Simdgroup& group = worker.simdgroups[thread.number / kLanes];
  const unsigned lane = thread.number % kLanes;
  unsigned char* deposits = group.deposits[group.round % 2];
  if (size > 0) {
    std::memcpy(deposits + lane * kDepositBytes, in, size);
  }
  thread.site = {function, file, line};
  Thread* const lanes = &worker.threads[thread.number - lane];
  const unsigned lane_count = std::min(kLanes, worker.thread_count - (thread.number - lane));
  for (unsigned i = 0; i < lane_count; ++i) {
    if (lanes[i].state == State::in_simdgroup && !(lanes[i].site == thread.site)) {
      narrows::fail<std::runtime_error>(
          "lanes of one simdgroup diverge: ",
          to_string(thread.site),
          " and ",
          to_string(lanes[i].site));
    }
  }
  if (++group.arrived == kLanes) {
    group.arrived = 0;
    ++group.round;
    for (unsigned i = 0; i < kLanes; ++i) {
      if (i != lane) {
        lanes[i].state = State::ready;
      }
    }
  } else {
    thread.state = State::in_simdgroup;
    thread.fiber.suspend();
  }
  return deposits;
}

unsigned simd_lane() {
  return current_thread().number % kLanes;
}

void* threadgroup_array(size_t size, const char* name) {
  Thread& thread = current_thread();
  Worker& worker = *thread.worker;
  const size_t begin = (thread.context.array_end + 15) / 16 * 16;
  const size_t index = thread.context.arrays++;
  thread.context.array_end = begin + size;
  if (begin + size > kThreadgroupBytes) {
    narrows::fail<std::runtime_error>("threadgroup memory passes 32 KB at the array ", name);
  }
  if (index == worker.arrays.size()) {
    worker.arrays.push_back({begin, name});
    std::memset(worker.threadgroup_memory + begin, 0xff, size);
  } else if (
      worker.arrays[index].begin != begin || std::strcmp(worker.arrays[index].name, name) != 0) {
    narrows::fail<std::runtime_error>("threads disagree on the threadgroup array ", name);
  }
  return worker.threadgroup_memory + begin;
}

} // namespace metal_emu
