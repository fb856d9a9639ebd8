// MeetingPoint: where the processes of groups meet before each operation. It runs in rank 0.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "narrows/backend/nccl/messages.h"
#include "narrows/backend/nccl/socket.h"

namespace narrows::nccl {

// A thread that answers the members of groups. It compares what they are about to do, and tells
// those that live when one of them dies or does not come in time. What strangers send is dropped.
class MeetingPoint {
 public:
  // The number of the group of all processes.
  static constexpr int64_t kWorld = 0;

  MeetingPoint(Socket listening, int size);
  ~MeetingPoint();
  MeetingPoint(const MeetingPoint&) = delete;
  MeetingPoint& operator=(const MeetingPoint&) = delete;

 private:
  struct Member {
    Socket socket;
    Incoming<Request> incoming;
    std::optional<Request> asks;
    double timeout = 0;
    Clock::time_point deadline; // of what it asks
    bool is_gone = false;
  };
  struct Group {
    std::vector<Member> members; // by rank
    std::string failure;         // why it cannot go on
    int64_t sequence = 0;        // how many times all members have come to an operation
    bool has_ended = false;      // all members have taken their leave

    int size() const {
      return static_cast<int>(members.size());
    }
  };
  // A connection that has not said yet whose it is.
  struct Stranger {
    Socket socket;
    Incoming<Hello> incoming;
    Clock::time_point deadline;
  };

  void serve();
  int milliseconds_to_wait(Clock::time_point now) const;
  void accept_strangers(Clock::time_point now);
  // False if it is to be dropped.
  bool hear(Stranger& stranger, Clock::time_point now);
  void hear(Group& group, int rank, Clock::time_point now);
  void match(Group& group);
  void match_pairs(Group& group);
  void agree(Group& group);
  void split(Group& group);
  void give_up_late(Group& group, Clock::time_point now);
  void lose(Group& group, int rank);
  void fail(Group& group, int but);
  void tell_failure(Group& group, int rank);
  void answer(const Group& group, Member& member, Reply reply);

  Socket listening_;
  Socket stop_here_, stop_there_; // a byte in these ends the thread
  std::map<int64_t, Group> groups_;
  int64_t next_group_ = kWorld + 1;
  std::list<Stranger> strangers_;
  Clock::time_point last_message_{};
  std::thread thread_;
};

} // namespace narrows::nccl
