// A library with the functions of NCCL that narrows uses, for tests where there are no GPUs. Its
// communicators connect processes of one machine through shared memory, and compute on the host. If
// there is a stream, arrays lie in a GPU's memory: then they are copied, once the stream's work has
// run. As in NCCL, calls return at once, and their end is asked for.
//
// STAND_IN_NCCL_STUCK=N: the N-th operation never comes to its end, until it is aborted.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kMostRanks = 16;
constexpr size_t kPiece = size_t{1} << 16;
constexpr size_t kMessage = 256;

enum Status { kSuccess = 0, kSystemError = 2, kInvalidArgument = 4, kInProgress = 7 };

struct UniqueId {
  char name[128];
};

// What the processes of a communicator share. Each rank has a piece of its array there.
struct Shared {
  std::atomic<int> arrived;
  std::atomic<int> round;
  std::atomic<int> full[kMostRanks][kMostRanks]; // a message from one rank to another
  int colors[kMostRanks][2];
  char pieces[kMostRanks][kPiece];
  char messages[kMostRanks][kMostRanks][kMessage];
};

struct Communicator {
  Shared* shared = nullptr;
  std::string name;
  int rank = 0;
  int size = 0;
  int splits = 0;
  int operations = 0;
  std::atomic<int> status{kSuccess};
  std::atomic<bool> is_aborted{false};
  std::thread worker;

  ~Communicator() {
    is_aborted = true;
    if (worker.joinable()) {
      worker.join();
    }
  }

  bool wait(const std::function<bool()>& over) const {
    while (!over()) {
      if (is_aborted) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return true;
  }
  // Returns when all ranks have come here.
  bool meet() const {
    const int round = shared->round;
    if (++shared->arrived == size) {
      shared->arrived = 0;
      ++shared->round;
      return true;
    }
    return wait([&] { return shared->round != round; });
  }
  // Runs what takes a while.
  int start(std::function<void()> work) {
    if (status == kInProgress) {
      return kInvalidArgument;
    }
    if (worker.joinable()) {
      worker.join();
    }
    status = kInProgress;
    worker = std::thread([this, work = std::move(work)] {
      const char* stuck = std::getenv("STAND_IN_NCCL_STUCK");
      if (stuck && std::atoi(stuck) == operations) {
        wait([] { return false; });
        return;
      }
      work();
      if (!is_aborted) {
        status = kSuccess;
      }
    });
    return kInProgress;
  }
};

// What a function of CUDA's runtime library returns for these arguments.
template <typename... Arguments>
int cuda(const char* name, Arguments... arguments) {
  static void* const library = dlopen("libcudart.so.13", RTLD_NOW);
  void* const function = library ? dlsym(library, name) : nullptr;
  return function ? reinterpret_cast<int (*)(Arguments...)>(function)(arguments...) : -1;
}

// Calls work(in, out) with arrays that the host can address.
template <typename Work>
void on_host(
    void* stream, const void* in, size_t in_bytes, void* out, size_t out_bytes, Work&& work) {
  if (!stream) {
    work(static_cast<const char*>(in), static_cast<char*>(out));
    return;
  }
  std::vector<char> from(in_bytes), to(out_bytes);
  constexpr int kAnyDirection = 4;
  int failed = cuda("cudaStreamSynchronize", stream);
  if (in_bytes) {
    failed |= cuda("cudaMemcpy", static_cast<void*>(from.data()), in, in_bytes, kAnyDirection);
  }
  work(from.data(), to.data());
  if (out_bytes) {
    const void* const result = to.data();
    failed |= cuda("cudaMemcpy", out, result, out_bytes, kAnyDirection);
    failed |= cuda("cudaDeviceSynchronize"); // short transfers may still be on their way
  }
  if (failed) {
    std::fprintf(stderr, "stand-in for NCCL: CUDA fails\n");
    std::abort();
  }
}

Shared* share(const std::string& name) {
  const int file = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) {
    return nullptr;
  }
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<Shared*>(memory);
}

size_t size_of(int type) {
  constexpr size_t kSizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return kSizes[type];
}

float from_bfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float result;
  std::memcpy(&result, &wide, sizeof(result));
  return result;
}

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename T>
void combine(T* into, const T* with, size_t count, int op) {
  for (size_t i = 0; i < count; ++i) {
    into[i] = op == 0   ? T(into[i] + with[i])
              : op == 2 ? std::max(into[i], with[i])
                        : std::min(into[i], with[i]);
  }
}

void combine(void* into, const void* with, size_t count, int type, int op) {
  const auto of = [&](auto tag) {
    using T = decltype(tag);
    combine(static_cast<T*>(into), static_cast<const T*>(with), count, op);
  };
  switch (type) {
    case 0:
      return of(int8_t());
    case 1:
      return of(uint8_t());
    case 2:
      return of(int32_t());
    case 3:
      return of(uint32_t());
    case 4:
      return of(int64_t());
    case 5:
      return of(uint64_t());
    case 6:
      return of(_Float16());
    case 7:
      return of(float());
    case 8:
      return of(double());
    default:
      for (size_t i = 0; i < count; ++i) {
        auto* a = static_cast<uint16_t*>(into) + i;
        *a = to_bfloat16(from_bfloat16(*a) + from_bfloat16(static_cast<const uint16_t*>(with)[i]));
      }
  }
}

// Calls use(rank, piece, first byte, bytes) for each piece of each rank's array, in all ranks.
template <typename Use>
void exchange(Communicator& c, const char* in, size_t bytes, Use&& use) {
  for (size_t first = 0; first < bytes; first += kPiece) {
    const size_t count = std::min(kPiece, bytes - first);
    std::memcpy(c.shared->pieces[c.rank], in + first, count);
    if (!c.meet()) {
      return;
    }
    for (int rank = 0; rank < c.size; ++rank) {
      use(rank, c.shared->pieces[rank], first, count);
    }
    if (!c.meet()) {
      return;
    }
  }
}

} // namespace

extern "C" {

int ncclGetVersion(int* version) {
  *version = 21805;
  return kSuccess;
}

int ncclGetUniqueId(UniqueId* id) {
  std::snprintf(id->name, sizeof(id->name), "/stand_in_nccl_%d", getpid());
  shm_unlink(id->name);
  return kSuccess;
}

const char* ncclGetErrorString(int status) {
  return status == kInvalidArgument ? "invalid argument" : "system error";
}

const char* ncclGetLastError(void*) {
  return "";
}

int ncclCommInitRankConfig(void** made, int size, UniqueId id, int rank, void*) {
  auto* c = new Communicator;
  *made = c;
  c->name = id.name;
  c->rank = rank;
  c->size = size;
  c->shared = share(c->name);
  if (!c->shared || size > kMostRanks) {
    return kSystemError;
  }
  return c->start([c] {
    if (c->meet() && c->rank == 0) {
      shm_unlink(c->name.c_str());
    }
  });
}

int ncclCommSplit(Communicator* c, int color, int key, void** made, void*) {
  auto* part = new Communicator;
  *made = part;
  part->name = c->name + "_" + std::to_string(++c->splits) + "_" + std::to_string(color);
  part->shared = share(part->name);
  return c->start([=] {
    c->shared->colors[c->rank][0] = color;
    c->shared->colors[c->rank][1] = key;
    if (!c->meet()) {
      return;
    }
    std::vector<std::pair<int, int>> members;
    for (int rank = 0; rank < c->size; ++rank) {
      if (c->shared->colors[rank][0] == color) {
        members.emplace_back(c->shared->colors[rank][1], rank);
      }
    }
    std::sort(members.begin(), members.end());
    part->size = static_cast<int>(members.size());
    for (int i = 0; i < part->size; ++i) {
      part->rank = members[i].second == c->rank ? i : part->rank;
    }
    c->meet();
    shm_unlink(part->name.c_str());
  });
}

int ncclCommGetAsyncError(Communicator* c, int* status) {
  *status = c->status;
  return kSuccess;
}

int ncclCommAbort(Communicator* c) {
  delete c;
  return kSuccess;
}

int ncclCommFinalize(Communicator*) {
  return kSuccess;
}

int ncclCommDestroy(Communicator* c) {
  delete c;
  return kSuccess;
}

int ncclAllReduce(
    const void* in, void* out, size_t count, int type, int op, Communicator* c, void* stream) {
  ++c->operations;
  return c->start([=] {
    const size_t size = size_of(type);
    const size_t all = count * size;
    on_host(stream, in, all, out, all, [&](const char* from, char* to) {
      exchange(*c, from, all, [&](int rank, const char* piece, size_t first, size_t bytes) {
        if (rank == 0) {
          std::memcpy(to + first, piece, bytes);
        } else {
          combine(to + first, piece, bytes / size, type, op);
        }
      });
    });
  });
}

int ncclReduceScatter(
    const void* in, void* out, size_t count, int type, int op, Communicator* c, void* stream) {
  ++c->operations;
  return c->start([=] {
    const size_t size = size_of(type);
    const size_t part = count * size;
    const auto parts = static_cast<size_t>(c->size);
    on_host(stream, in, part * parts, out, part, [&](const char* from, char* to) {
      for (size_t owner = 0; owner < parts; ++owner) {
        const bool is_own = owner == static_cast<size_t>(c->rank);
        exchange(
            *c,
            from + owner * part,
            part,
            [&](int rank, const char* piece, size_t first, size_t bytes) {
              if (is_own && rank == 0) {
                std::memcpy(to + first, piece, bytes);
              } else if (is_own) {
                combine(to + first, piece, bytes / size, type, op);
              }
            });
      }
    });
  });
}

int ncclAllGather(
    const void* in, void* out, size_t count, int type, Communicator* c, void* stream) {
  ++c->operations;
  return c->start([=] {
    const size_t part = count * size_of(type);
    const size_t all = part * static_cast<size_t>(c->size);
    on_host(stream, in, part, out, all, [&](const char* from, char* to) {
      exchange(*c, from, part, [&](int rank, const char* piece, size_t first, size_t bytes) {
        std::memcpy(to + static_cast<size_t>(rank) * part + first, piece, bytes);
      });
    });
  });
}

int ncclSend(const void* in, size_t count, int type, int peer, Communicator* c, void* stream) {
  ++c->operations;
  return c->start([=] {
    const size_t bytes = count * size_of(type);
    on_host(stream, in, bytes, nullptr, 0, [&](const char* from, char*) {
      std::atomic<int>& full = c->shared->full[c->rank][peer];
      for (size_t first = 0; first < bytes && c->wait([&] { return full == 0; });
           first += kMessage) {
        const size_t length = std::min(kMessage, bytes - first);
        std::memcpy(c->shared->messages[c->rank][peer], from + first, length);
        full = 1;
      }
    });
  });
}

int ncclRecv(void* out, size_t count, int type, int peer, Communicator* c, void* stream) {
  ++c->operations;
  return c->start([=] {
    const size_t bytes = count * size_of(type);
    on_host(stream, nullptr, 0, out, bytes, [&](const char*, char* to) {
      std::atomic<int>& full = c->shared->full[peer][c->rank];
      for (size_t first = 0; first < bytes && c->wait([&] { return full == 1; });
           first += kMessage) {
        const size_t length = std::min(kMessage, bytes - first);
        std::memcpy(to + first, c->shared->messages[peer][c->rank], length);
        full = 0;
      }
    });
  });
}

} // extern "C"
