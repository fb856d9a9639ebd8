// A communicator of MPI, as a group of processes.
#pragma once

#include <functional>
#include <span>

#include "narrows/backend/mpi/library.h"
#include "narrows/runtime/collective_header.h"
#include "narrows/runtime/process_group.h"

namespace narrows::mpi {

class MpiGroup final : public ProcessGroup {
 public:
  MpiGroup(Library& mpi, Handle communicator, double timeout);
  static std::unique_ptr<MpiGroup> of_all_processes(Library& mpi, double timeout);

  int rank() const override {
    return rank_;
  }
  int size() const override {
    return size_;
  }
  void run(CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& params)
      override;
  int split(int color, int key) override;
  bool holds_memory() const override {
    return holds_memory_;
  }

  // Waits until all processes have called it. Returns whether they have.
  bool ends_together();

 private:
  struct Exchange;
  using Requests = std::vector<Handle>;
  using Late = std::function<std::string()>; // says what has not come in time

  void meet_all(const Header& mine);
  void meet_peer(const Header& mine, int peer);
  std::unique_ptr<Exchange> exchange(
      const Header& mine, std::span<const int> peers, int tag_of_mine, int tag_of_theirs);
  void transfer(CollectiveOp op, Dtype dtype, const void* in, void* out, const CollectiveParams& p);
  void reduce(
      CollectiveOp op, Dtype dtype, const void* in, void* out, int64_t count, const Late& late);
  Requests send_or_receive(
      Dtype dtype, const void* in, void* out, const CollectiveParams& p, bool sends);

  // Returns when the requests are over.
  void wait(Requests& requests, bool sleeps, const Late& late);
  // The header that this process's next operation begins with.
  Header header_of(int32_t op, Dtype dtype, const CollectiveParams& params);
  void require_usable(const Header& mine) const;

  Library& mpi_;
  const Handle communicator_;
  const double timeout_;
  int rank_ = 0;
  int size_ = 0;
  int64_t sequence_ = 0;
  std::string failure_; // of an operation that not all processes have finished; empty: none
  bool holds_memory_ = false;
};

} // namespace narrows::mpi
