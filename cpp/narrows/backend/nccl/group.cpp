#include "narrows/backend/nccl/group.h"

#include "narrows/backend/nccl/meeting_point.h"
#include "narrows/backend/nccl/watch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/wait.h"

namespace narrows::nccl {
namespace {

// What is on the stream may still come to its end after a process has died.
constexpr double kGraceSeconds = 2;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The type that NCCL adds up, or finds the largest of.
Type type_of(Dtype dtype) {
  switch (dtype) {
    case int8:
      return Type::i8;
    case int32:
      return Type::i32;
    case uint32:
      return Type::u32;
    case int64:
      return Type::i64;
    case uint64:
      return Type::u64;
    case float16:
      return Type::f16;
    case bfloat16:
      return Type::bf16;
    case float32:
    case complex64:
      return Type::f32;
    case float64:
      return Type::f64;
    default:
      return Type::u8;
  }
}

// bool: whether any, or all, are true.
Operation operation_of(CollectiveOp op, Dtype dtype) {
  return op == CollectiveOp::all_min                     ? Operation::min
         : op == CollectiveOp::all_max || dtype == bool_ ? Operation::max
                                                         : Operation::sum;
}

} // namespace

NcclGroup::NcclGroup(
    const Library& nccl,
    const MeetingPlace& place,
    std::unique_ptr<Meeting> meeting,
    int rank,
    int size,
    double timeout)
    : nccl_(nccl),
      place_(place),
      meeting_(std::move(meeting)),
      rank_(rank),
      size_(size),
      timeout_(timeout) {
  watch(this);
}

NcclGroup::~NcclGroup() {
  unwatch(this);
  if (communicator_) {
    nccl_.CommAbort(communicator_);
  }
}

std::unique_ptr<NcclGroup> NcclGroup::of_all_processes(
    const Library& nccl, const MeetingPlace& place, int rank, int size, double timeout) {
  auto meeting = std::make_unique<Meeting>(place, MeetingPoint::kWorld, rank, size, timeout);
  auto group = std::make_unique<NcclGroup>(nccl, place, std::move(meeting), rank, size, timeout);
  Request request{};
  request.header.op = Header::kInit;
  if (rank == 0) {
    nccl.check(nccl.GetUniqueId(&request.id), nullptr);
  }
  const UniqueId id = group->meeting_->ask(request).id;
  std::lock_guard lock(group->mutex_);
  Config config;
  nccl.check(
      nccl.CommInitRankConfig(&group->communicator_, size, id, rank, &config),
      group->communicator_);
  group->settle(group->communicator_, request.header);
  return group;
}

// NCCL has no integers of 16 bits, and its largest float may or may not be NaN.
bool NcclGroup::has(CollectiveOp op, Dtype dtype) const {
  switch (op) {
    case CollectiveOp::all_max:
    case CollectiveOp::all_min:
      return dtype != int16 && dtype != uint16 && !is_inexact(dtype);
    case CollectiveOp::all_sum:
    case CollectiveOp::sum_scatter:
      return dtype != int16 && dtype != uint16;
    default:
      return true;
  }
}

void NcclGroup::run(CollectiveOp, Dtype, const void*, void*, const CollectiveParams&) {
  fail<std::runtime_error>("[distributed] operations of a group of NCCL run on the GPU.");
}

Header NcclGroup::header_of(int32_t op, Dtype dtype, const CollectiveParams& params) const {
  return Header::of(op, dtype, meeting_->sequence(), params);
}

Reply NcclGroup::meet(const Header& mine, int peer, int color, int key) {
  Request request{};
  request.header = mine;
  request.peer = peer;
  request.color = color;
  request.key = key;
  return meeting_->ask(request);
}

void NcclGroup::settle(Communicator communicator, const Header& mine) {
  const Clock::time_point start = Clock::now();
  std::string news;
  poll_until(
      [&] {
        Status status = Status::success;
        nccl_.check(nccl_.CommGetAsyncError(communicator, &status), communicator);
        nccl_.check(status, communicator);
        if (status != Status::in_progress) {
          return true;
        }
        news = meeting_->look();
        const bool is_alone = !news.empty() && seconds_since(start) > kGraceSeconds;
        if (is_alone || seconds_since(start) > timeout_) {
          fail<std::runtime_error>(
              text_of_place(mine, rank_, size_),
              ": not done after ",
              seconds_since(start),
              " s, although all processes had come to it",
              is_alone ? "; " + news : ".");
        }
        return false;
      },
      true);
}

void NcclGroup::call(
    CollectiveOp op,
    Dtype dtype,
    const void* in,
    void* out,
    const CollectiveParams& p,
    Stream stream) {
  const auto count = static_cast<size_t>(p.count);
  const auto bytes = static_cast<size_t>(p.count * size_of(dtype));
  const size_t numbers = dtype == complex64 ? 2 * count : count;
  const auto parts = static_cast<size_t>(size_);
  const Operation operation = operation_of(op, dtype);
  const Type type = type_of(dtype);
  Status status = Status::success;
  switch (op) {
    case CollectiveOp::all_sum:
    case CollectiveOp::all_max:
    case CollectiveOp::all_min:
      status = nccl_.AllReduce(in, out, numbers, type, operation, communicator_, stream);
      break;
    case CollectiveOp::sum_scatter:
      status =
          nccl_.ReduceScatter(in, out, numbers / parts, type, operation, communicator_, stream);
      break;
    case CollectiveOp::all_gather:
      status = nccl_.AllGather(in, out, bytes, Type::u8, communicator_, stream);
      break;
    case CollectiveOp::send:
      status = nccl_.Send(in, bytes, Type::u8, p.peer, communicator_, stream);
      break;
    case CollectiveOp::recv:
      status = nccl_.Recv(out, bytes, Type::u8, p.peer, communicator_, stream);
      break;
  }
  nccl_.check(status, communicator_);
}

void NcclGroup::encode(
    CollectiveOp op,
    Dtype dtype,
    const void* in,
    void* out,
    const CollectiveParams& params,
    DeviceQueue& queue) {
  const Header mine = header_of(static_cast<int32_t>(op), dtype, params);
  meet(mine, params.peer);
  if (params.count == 0) {
    return;
  }
  std::lock_guard lock(mutex_);
  if (!failure_.empty()) {
    fail<std::runtime_error>(
        text_of_place(mine, rank_, size_),
        ": the group cannot go on after an earlier failure: ",
        failure_);
  }
  try {
    call(op, dtype, in, out, params, queue.stream());
    settle(communicator_, mine);
    forget_finished();
    in_flight_.push_back({text_of_place(mine, rank_, size_), Clock::now(), queue.mark(), &queue});
  } catch (const std::exception& error) {
    give_up(error.what());
    throw;
  }
}

int NcclGroup::split(int color, int key) {
  const Header mine = header_of(Header::kSplit, bool_, {});
  const Reply reply = meet(mine, 0, color, key);
  auto meeting = std::make_unique<Meeting>(place_, reply.group, reply.rank, reply.size, timeout_);
  auto part = std::make_unique<NcclGroup>(
      nccl_, place_, std::move(meeting), reply.rank, reply.size, timeout_);
  std::scoped_lock lock(mutex_, part->mutex_);
  try {
    Config config;
    nccl_.check(
        nccl_.CommSplit(communicator_, color, key < 0 ? rank_ : key, &part->communicator_, &config),
        communicator_);
    settle(communicator_, mine);
    settle(part->communicator_, mine);
  } catch (const std::exception& error) {
    give_up(error.what());
    throw;
  }
  return add_process_group(std::move(part));
}

void NcclGroup::forget_finished() {
  while (!in_flight_.empty() && in_flight_.front().is_over()) {
    in_flight_.pop_front();
  }
}

void NcclGroup::give_up(const std::string& why) {
  failure_ = why;
  meeting_->leave(why);
  forget_finished();
  for (const InFlight& operation : in_flight_) {
    operation.queue->fail(operation.name + ": " + why);
  }
  in_flight_.clear();
  if (communicator_) {
    nccl_.CommAbort(communicator_);
    communicator_ = nullptr;
  }
}

void NcclGroup::look_after() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !communicator_) {
    return; // another thread looks after it
  }
  forget_finished();
  if (in_flight_.empty()) {
    return;
  }
  Status status = Status::success;
  nccl_.CommGetAsyncError(communicator_, &status);
  const double waited = seconds_since(in_flight_.front().since);
  const std::string news = meeting_->look();
  if (status != Status::success && status != Status::in_progress) {
    const char* details = nccl_.GetLastError(communicator_);
    give_up(concat_message("NCCL says: ", nccl_.GetErrorString(status), ": ", details, "."));
  } else if (!news.empty() && waited > kGraceSeconds) {
    give_up("it has not come to its end, and " + news);
  } else if (waited > timeout_) {
    give_up(concat_message(
        "it has not come to its end in ", timeout_, " s, although all processes had come to it."));
  }
}

bool NcclGroup::ends_together() {
  const Clock::time_point start = Clock::now();
  while (seconds_since(start) <= timeout_) {
    try {
      meet(header_of(Header::kEnd, bool_, {}), 0);
      return true;
    } catch (const std::runtime_error&) {
      if (!meeting_->failure().empty()) {
        return false;
      }
    }
  }
  return false;
}

} // namespace narrows::nccl
