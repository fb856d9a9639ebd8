#include "narrows/backend/mpi/group.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include "narrows/backend/mpi/reductions.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/core/kernel_id.h"
#include "narrows/core/shape.h"
#include "narrows/runtime/wait.h"

namespace narrows::mpi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Handle kOver = 0; // in place of a request that is over

// Tags of messages between two processes.
constexpr int kTagOfAll = 1;
constexpr int kTagOfSender = 2;
constexpr int kTagOfReceiver = 3;
constexpr int kTagOfData = 4;

// Long arrays are reduced in pieces: one is added up while others are on their way. A library that
// overwrites its input has memory of its own for each piece, which no plan counts, so few of them
// are on their way at once.
constexpr int64_t kReducedBytes = int64_t{1} << 20;
constexpr size_t kReducedAtOnce = 8;
// The most bytes of a message.
constexpr int64_t kMostBytes = int64_t{1} << 30;

} // namespace

// Headers on their way. If an operation fails, it is never freed, because MPI may still use it.
struct MpiGroup::Exchange {
  Header mine;
  std::vector<int> peers;
  std::vector<Header> theirs;
  Requests requests; // one for each header that comes, then one for each that goes

  std::vector<int> missing() const {
    std::vector<int> ranks;
    for (size_t i = 0; i < peers.size(); ++i) {
      if (requests[i] != kOver) {
        ranks.push_back(peers[i]);
      }
    }
    return ranks;
  }
};

MpiGroup::MpiGroup(Library& mpi, Handle communicator, double timeout)
    : mpi_(mpi), communicator_(communicator), timeout_(timeout) {
  mpi_.call(mpi_.Comm_set_errhandler, communicator_, mpi_.abi.errors_return);
  mpi_.call(mpi_.Comm_rank, communicator_, &rank_);
  mpi_.call(mpi_.Comm_size, communicator_, &size_);
}

std::unique_ptr<MpiGroup> MpiGroup::of_all_processes(Library& mpi, double timeout) {
  MpiGroup all(mpi, mpi.abi.world, timeout);
  // Messages of others must not be taken for those of the library.
  auto* copy = new Handle(0); // MPI may write it later if this fails
  Requests requests(1);
  mpi.call(mpi.Comm_idup, mpi.abi.world, copy, requests.data());
  all.wait(requests, true, [&] {
    return concat_message(
        "[init] rank ",
        all.rank_,
        " of ",
        all.size_,
        ": waited ",
        timeout,
        " s for the other processes to call init().");
  });
  return std::make_unique<MpiGroup>(mpi, *copy, timeout);
}

void MpiGroup::wait(Requests& requests, bool sleeps, const Late& late) {
  const Clock::time_point start = Clock::now();
  poll_until(
      [&] {
        bool all_over = true;
        for (Handle& request : requests) {
          int is_over = request == kOver;
          if (!is_over) {
            mpi_.call(mpi_.Test, &request, &is_over, mpi_.abi.status_ignore);
            request = is_over ? kOver : request;
          }
          all_over &= is_over != 0;
        }
        if (!all_over && std::chrono::duration<double>(Clock::now() - start).count() > timeout_) {
          throw std::runtime_error(late());
        }
        return all_over;
      },
      sleeps);
}

void MpiGroup::require_usable(const Header& mine) const {
  if (!failure_.empty()) {
    fail<std::runtime_error>(
        text_of_place(mine, rank_, size_),
        ": the group cannot go on after an earlier failure: ",
        failure_);
  }
}

Header MpiGroup::header_of(int32_t op, Dtype dtype, const CollectiveParams& params) {
  return Header::of(op, dtype, sequence_, params);
}

// Exchanges headers with some processes. Whatever goes wrong here ends the group's work, because
// others may have got this process's header and go on.
std::unique_ptr<MpiGroup::Exchange> MpiGroup::exchange(
    const Header& mine, std::span<const int> peers, int tag_of_mine, int tag_of_theirs) {
  require_usable(mine);
  auto x = std::make_unique<Exchange>();
  x->mine = mine;
  x->peers.assign(peers.begin(), peers.end());
  x->theirs.resize(peers.size());
  x->requests.assign(2 * peers.size(), kOver);
  const Handle bytes = mpi_.type(Type::u8);
  constexpr int kSize = sizeof(Header);
  try {
    for (size_t i = 0; i < peers.size(); ++i) {
      mpi_.call(
          mpi_.Irecv,
          &x->theirs[i],
          kSize,
          bytes,
          peers[i],
          tag_of_theirs,
          communicator_,
          &x->requests[i]);
    }
    for (size_t i = 0; i < peers.size(); ++i) {
      mpi_.call(
          mpi_.Isend,
          &x->mine,
          kSize,
          bytes,
          peers[i],
          tag_of_mine,
          communicator_,
          &x->requests[peers.size() + i]);
    }
    wait(x->requests, true, [&] {
      return text_of_late(mine, rank_, size_, timeout_, x->missing());
    });
  } catch (const std::exception& error) {
    failure_ = error.what();
    x.release(); // NOLINT: MPI may still write into it
    throw;
  }
  return x;
}

void MpiGroup::meet_all(const Header& mine) {
  std::vector<int> peers;
  for (int i = 1; i < size_; ++i) {
    peers.push_back((rank_ + i) % size_);
  }
  const auto x = exchange(mine, peers, kTagOfAll, kTagOfAll);
  ++sequence_;
  std::string others;
  for (size_t i = 0; i < peers.size(); ++i) {
    if (!is_same_operation(mine, x->theirs[i])) {
      others += concat_message(
          others.empty() ? "" : "; ", text_of(x->theirs[i]), " in rank ", x->peers[i]);
    }
  }
  if (!others.empty()) {
    throw std::runtime_error(text_of_mismatch(mine, rank_, size_, others));
  }
}

void MpiGroup::meet_peer(const Header& mine, int peer) {
  const bool sends = mine.op == static_cast<int32_t>(CollectiveOp::send);
  const auto x = exchange(
      mine,
      {&peer, 1},
      sends ? kTagOfSender : kTagOfReceiver,
      sends ? kTagOfReceiver : kTagOfSender);
  if (!is_same_array(mine, x->theirs[0])) {
    throw std::runtime_error(text_of_peer_mismatch(mine, rank_, size_, x->theirs[0], peer));
  }
}

void MpiGroup::reduce(
    CollectiveOp op, Dtype dtype, const void* in, void* out, int64_t count, const Late& late) {
  const Reduction reduction = reduction_of(mpi_, op, dtype);
  const int64_t size = size_of(dtype);
  const int64_t piece = kReducedBytes / size;
  Requests requests;
  for (int64_t first = 0; first < count; first += piece) {
    if (requests.size() == kReducedAtOnce) {
      Requests oldest = {requests.front()};
      requests.erase(requests.begin());
      wait(oldest, false, late);
    }
    const int64_t elements = std::min(piece, count - first);
    const void* from =
        in == out ? mpi_.abi.in_place : static_cast<const std::byte*>(in) + first * size;
    requests.push_back(kOver);
    mpi_.call(
        mpi_.Iallreduce,
        from,
        static_cast<std::byte*>(out) + first * size,
        static_cast<int>(elements * reduction.per_element),
        reduction.type,
        reduction.op,
        communicator_,
        &requests.back());
  }
  wait(requests, false, late);
}

MpiGroup::Requests MpiGroup::send_or_receive(
    Dtype dtype, const void* in, void* out, const CollectiveParams& p, bool sends) {
  const int64_t bytes = p.count * size_of(dtype);
  const Handle type = mpi_.type(Type::u8);
  Requests requests;
  for (int64_t first = 0; first < bytes; first += kMostBytes) {
    const int size = static_cast<int>(std::min(kMostBytes, bytes - first));
    requests.push_back(kOver);
    if (sends) {
      mpi_.call(
          mpi_.Isend,
          static_cast<const std::byte*>(in) + first,
          size,
          type,
          p.peer,
          kTagOfData,
          communicator_,
          &requests.back());
    } else {
      mpi_.call(
          mpi_.Irecv,
          static_cast<std::byte*>(out) + first,
          size,
          type,
          p.peer,
          kTagOfData,
          communicator_,
          &requests.back());
    }
  }
  return requests;
}

namespace {

// For data that is only moved: a type of an element's size.
Type mover_of(Dtype dtype) {
  switch (size_of(dtype)) {
    case 1:
      return Type::u8;
    case 2:
      return Type::u16;
    case 4:
      return Type::u32;
    default:
      return Type::u64;
  }
}

} // namespace

void MpiGroup::transfer(
    CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& p) {
  const Late late = [&] {
    return concat_message(
        "[",
        operation_name(KernelFamily::collective, static_cast<uint8_t>(op)),
        "] rank ",
        rank_,
        " of ",
        size_,
        ": the data of ",
        p.count,
        " elements was not there after ",
        timeout_,
        " s, although all processes had come to the operation.");
  };
  Requests requests;
  switch (op) {
    case CollectiveOp::send:
    case CollectiveOp::recv:
      requests = send_or_receive(dtype, in, out, p, op == CollectiveOp::send);
      break;
    case CollectiveOp::all_gather: {
      requests.push_back(kOver);
      const Handle type = mpi_.type(mover_of(dtype));
      const int count = static_cast<int>(p.count);
      mpi_.call(
          mpi_.Iallgather, in, count, type, out, count, type, communicator_, &requests.back());
      break;
    }
    case CollectiveOp::sum_scatter: {
      requests.push_back(kOver);
      const Reduction reduction = reduction_of(mpi_, op, dtype);
      const int count = static_cast<int>(p.count / size_ * reduction.per_element);
      mpi_.call(
          mpi_.Ireduce_scatter_block,
          in,
          out,
          count,
          reduction.type,
          reduction.op,
          communicator_,
          &requests.back());
      break;
    }
    default:
      return reduce(op, dtype, in, out, p.count, late);
  }
  wait(requests, false, late);
}

void MpiGroup::run(
    CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& params) {
  const Header mine = header_of(static_cast<int32_t>(op), dtype, params);
  if (op == CollectiveOp::send || op == CollectiveOp::recv) {
    meet_peer(mine, params.peer);
  } else {
    meet_all(mine);
  }
  if (params.count == 0) {
    return;
  }
  try {
    transfer(op, dtype, in, out, params);
  } catch (const std::exception& error) {
    failure_ = error.what();
    holds_memory_ = true;
    throw;
  }
}

int MpiGroup::split(int color, int key) {
  meet_all(header_of(Header::kSplit, bool_, {}));
  // All processes are here, so this ends, although it waits for them.
  Handle part = 0;
  mpi_.call(mpi_.Comm_split, communicator_, color, key < 0 ? rank_ : key, &part);
  return add_process_group(std::make_unique<MpiGroup>(mpi_, part, timeout_));
}

bool MpiGroup::ends_together() {
  const Clock::time_point start = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - start).count() <= timeout_) {
    try {
      meet_all(header_of(Header::kEnd, bool_, {}));
      return true;
    } catch (const std::runtime_error&) {
      if (!failure_.empty()) {
        return false;
      }
    }
  }
  return false;
}

} // namespace narrows::mpi
