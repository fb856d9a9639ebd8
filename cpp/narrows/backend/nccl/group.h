// A communicator of NCCL, as a group of processes.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "narrows/backend/nccl/library.h"
#include "narrows/backend/nccl/meeting.h"
#include "narrows/runtime/process_group.h"

namespace narrows::nccl {

// Operations are put on the GPU's stream once all their processes have met: so none of them waits
// there for a process that does something else. Another thread looks after those on the stream.
class NcclGroup final : public ProcessGroup {
 public:
  NcclGroup(
      const Library& nccl,
      const MeetingPlace& place,
      std::unique_ptr<Meeting> meeting,
      int rank,
      int size,
      double timeout);
  ~NcclGroup() override;
  // The group of all processes, which meet here for the first time.
  static std::unique_ptr<NcclGroup> of_all_processes(
      const Library& nccl, const MeetingPlace& place, int rank, int size, double timeout);

  int rank() const override {
    return rank_;
  }
  int size() const override {
    return size_;
  }
  Device::Type device() const override {
    return Device::Type::gpu;
  }
  bool has(CollectiveOp op, Dtype dtype) const override;
  void run(CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& params)
      override;
  void encode(
      CollectiveOp op,
      Dtype dtype,
      const void* in,
      void* out,
      const CollectiveParams& params,
      DeviceQueue& queue) override;
  int split(int color, int key) override;

  // Waits until all processes have called it. Returns whether they have.
  bool ends_together();
  // Ends what is on the stream if it does not come to its end. Never waits.
  void look_after();

 private:
  // An operation on a stream.
  struct InFlight {
    std::string name;
    Clock::time_point since;
    std::function<bool()> is_over;
    DeviceQueue* queue;
  };

  // The header that an operation of this process begins with.
  Header header_of(int32_t op, Dtype dtype, const CollectiveParams& params) const;
  // A header of another operation than that of others leaves the group as it was.
  Reply meet(const Header& mine, int peer, int color = 0, int key = 0);
  void call(
      CollectiveOp op,
      Dtype dtype,
      const void* in,
      void* out,
      const CollectiveParams& params,
      Stream stream);
  // Returns when the communicator has done what it was asked to do on the host.
  void settle(Communicator communicator, const Header& mine);
  void forget_finished();
  // The group cannot go on. Takes what is on the stream away from it.
  void give_up(const std::string& why);

  const Library& nccl_;
  const MeetingPlace place_;
  const std::unique_ptr<Meeting> meeting_;
  const int rank_;
  const int size_;
  const double timeout_;
  std::mutex mutex_; // of what follows
  Communicator communicator_ = nullptr;
  std::string failure_;
  std::deque<InFlight> in_flight_;
};

} // namespace narrows::nccl
