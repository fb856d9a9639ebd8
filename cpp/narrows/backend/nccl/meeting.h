// Meeting: a member's connection to the meeting point of its group.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "narrows/backend/nccl/messages.h"
#include "narrows/backend/nccl/socket.h"

namespace narrows::nccl {

// Where the meeting point is.
struct MeetingPlace {
  std::string host;
  uint16_t port = 0;
};

class Meeting {
 public:
  // Connects. RuntimeError if that is not possible within so many seconds.
  Meeting(const MeetingPlace& place, int64_t group, int rank, int size, double timeout);

  // Waits until the meeting point answers. RuntimeError, with its words, unless the operation can
  // begin. If failure() is still empty then, the group can go on.
  Reply ask(const Request& request);

  // How many operations of all its members the group has begun.
  int64_t sequence() const {
    return sequence_;
  }

  // This process cannot go on, for this reason: the others are told that it has gone.
  void leave(const std::string& why);

  // Why the group cannot go on; empty while it can.
  std::string failure();
  // The same, after a look at what has come. It never waits: for other threads.
  std::string look();

 private:
  void note_failure(const std::string& words);

  const int rank_;
  const int size_;
  const double timeout_;
  std::mutex mutex_; // of asking and looking
  Socket socket_;
  Incoming<Reply> incoming_;
  std::atomic<int64_t> sequence_{0};
  std::atomic<bool> has_left_{false};
  std::mutex failure_mutex_;
  std::string failure_;
};

} // namespace narrows::nccl
