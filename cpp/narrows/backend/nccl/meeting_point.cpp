#include "narrows/backend/nccl/meeting_point.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>

#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::nccl {
namespace {

// Strangers say who they are soon, and there are not many of them.
constexpr std::chrono::seconds kPatience{10};
constexpr size_t kMostStrangers = 4096;
constexpr int kLongestWaitMs = 200;
// Operations often follow each other closely. So the thread keeps asking for a while.
constexpr std::chrono::microseconds kAwake{100};

bool is_send(const Request& request) {
  return request.header.op == static_cast<int32_t>(CollectiveOp::send);
}
bool is_of_pair(const Request& request) {
  return is_send(request) || request.header.op == static_cast<int32_t>(CollectiveOp::recv);
}

Clock::duration duration_of(double seconds) {
  constexpr double kMost = 1e9;
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
      std::isfinite(seconds) ? std::clamp(seconds, 0.0, kMost) : kMost));
}

} // namespace

MeetingPoint::MeetingPoint(Socket listening, int size) : listening_(std::move(listening)) {
  groups_[kWorld].members.resize(static_cast<size_t>(size));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    narrows::fail<std::runtime_error>("[init] the system has no more sockets.");
  }
  stop_here_ = Socket(ends[0]);
  stop_there_ = Socket(ends[1]);
  thread_ = std::thread([this] { serve(); });
}

MeetingPoint::~MeetingPoint() {
  send_all(stop_here_, "", 1);
  thread_.join();
}

int MeetingPoint::milliseconds_to_wait(Clock::time_point now) const {
  if (now - last_message_ < kAwake) {
    return 0;
  }
  Clock::time_point next = now + std::chrono::milliseconds(kLongestWaitMs);
  for (const auto& [number, group] : groups_) {
    for (const Member& member : group.members) {
      next = member.asks ? std::min(next, member.deadline) : next;
    }
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - now).count();
  return static_cast<int>(std::max<int64_t>(0, left)) + 1;
}

void MeetingPoint::serve() {
  std::vector<pollfd> asked;
  std::vector<std::pair<Group*, int>> members; // of the last ones that are asked
  for (;;) {
    asked.assign({{stop_there_.descriptor(), POLLIN, 0}, {listening_.descriptor(), POLLIN, 0}});
    for (const Stranger& stranger : strangers_) {
      asked.push_back({stranger.socket.descriptor(), POLLIN, 0});
    }
    const size_t first_member = asked.size();
    members.clear();
    for (auto& [number, group] : groups_) {
      for (int rank = 0; rank < group.size(); ++rank) {
        const Socket& socket = group.members[static_cast<size_t>(rank)].socket;
        if (socket.is_open()) {
          asked.push_back({socket.descriptor(), POLLIN, 0});
          members.emplace_back(&group, rank);
        }
      }
    }
    const int count = poll(asked.data(), asked.size(), milliseconds_to_wait(Clock::now()));
    const Clock::time_point now = Clock::now();
    if (asked[0].revents) {
      return;
    }
    if (count > 0) {
      last_message_ = now;
      strangers_.remove_if([&](Stranger& stranger) { return !hear(stranger, now); });
      accept_strangers(now);
      for (size_t i = 0; i < members.size(); ++i) {
        if (asked[first_member + i].revents) {
          hear(*members[i].first, members[i].second, now);
        }
      }
    }
    for (auto& [number, group] : groups_) {
      give_up_late(group, now);
    }
  }
}

void MeetingPoint::accept_strangers(Clock::time_point now) {
  strangers_.remove_if([&](const Stranger& stranger) { return stranger.deadline < now; });
  while (strangers_.size() < kMostStrangers) {
    Socket socket = accept_from(listening_);
    if (!socket.is_open()) {
      return;
    }
    strangers_.push_back({std::move(socket), {}, now + kPatience});
  }
}

bool MeetingPoint::hear(Stranger& stranger, Clock::time_point now) {
  using State = Incoming<Hello>::State;
  const State state = stranger.incoming.receive(stranger.socket);
  if (state != State::whole) {
    return state == State::partial && now < stranger.deadline;
  }
  const Hello hello = stranger.incoming.take();
  const auto group = groups_.find(hello.group);
  if (hello.magic != kMagic || group == groups_.end() || hello.size != group->second.size() ||
      hello.rank < 0 || hello.rank >= hello.size) {
    return false;
  }
  Member& member = group->second.members[static_cast<size_t>(hello.rank)];
  if (member.socket.is_open() || member.is_gone) {
    return false;
  }
  member.socket = std::move(stranger.socket);
  member.timeout = hello.timeout;
  return false;
}

void MeetingPoint::hear(Group& group, int rank, Clock::time_point now) {
  Member& member = group.members[static_cast<size_t>(rank)];
  if (!member.socket.is_open()) {
    return;
  }
  using State = Incoming<Request>::State;
  const State state = member.incoming.receive(member.socket);
  if (state == State::broken) {
    lose(group, rank);
    return;
  }
  if (state == State::partial) {
    return;
  }
  const Request request = member.incoming.take();
  if (member.asks || (is_of_pair(request) && (request.peer < 0 || request.peer >= group.size()))) {
    lose(group, rank); // this is no member that keeps to the rules
    return;
  }
  member.asks = request;
  member.deadline = now + duration_of(member.timeout);
  if (group.failure.empty()) {
    match(group);
  } else {
    tell_failure(group, rank);
  }
}

// Answers those whose operation can begin, or is not the same in all of them.
void MeetingPoint::match(Group& group) {
  match_pairs(group);
  const bool all_ask = std::all_of(
      group.members.begin(), group.members.end(), [](const Member& m) { return m.asks; });
  if (all_ask) {
    agree(group);
  }
}

void MeetingPoint::match_pairs(Group& group) {
  for (int rank = 0; rank < group.size(); ++rank) {
    Member& sender = group.members[static_cast<size_t>(rank)];
    if (!sender.asks || !is_send(*sender.asks)) {
      continue;
    }
    const int peer = sender.asks->peer;
    Member& receiver = group.members[static_cast<size_t>(peer)];
    if (!receiver.asks || !is_of_pair(*receiver.asks) || is_send(*receiver.asks) ||
        receiver.asks->peer != rank) {
      continue;
    }
    const Header sent = sender.asks->header;
    const Header received = receiver.asks->header;
    Reply to_sender{}, to_receiver{};
    if (!is_same_array(sent, received)) {
      to_sender.kind = to_receiver.kind = Reply::mismatch;
      to_sender.set_text(text_of_peer_mismatch(sent, rank, group.size(), received, peer));
      to_receiver.set_text(text_of_peer_mismatch(received, peer, group.size(), sent, rank));
    }
    answer(group, sender, to_sender);
    answer(group, receiver, to_receiver);
  }
}

// All members have come to some operation.
void MeetingPoint::agree(Group& group) {
  const Request first = *group.members[0].asks;
  group.sequence += first.header.op != Header::kInit;
  const bool is_same =
      !is_of_pair(first) &&
      std::all_of(group.members.begin(), group.members.end(), [&](const Member& m) {
        return is_same_operation(first.header, m.asks->header);
      });
  if (is_same && first.header.op == Header::kSplit) {
    split(group);
    return;
  }
  group.has_ended |= is_same && first.header.op == Header::kEnd;
  std::vector<Reply> replies(group.members.size());
  for (int rank = 0; rank < group.size(); ++rank) {
    Reply& reply = replies[static_cast<size_t>(rank)];
    reply.id = first.id;
    if (is_same) {
      continue;
    }
    reply.kind = Reply::mismatch;
    const Header& mine = group.members[static_cast<size_t>(rank)].asks->header;
    std::string others;
    for (int other = 0; other < group.size(); ++other) {
      const Header& theirs = group.members[static_cast<size_t>(other)].asks->header;
      if (other != rank && !is_same_operation(mine, theirs)) {
        others += concat_message(others.empty() ? "" : "; ", text_of(theirs), " in rank ", other);
      }
    }
    reply.set_text(
        text_of_mismatch(mine, rank, group.size(), others.empty() ? "nobody takes part" : others));
  }
  for (int rank = 0; rank < group.size(); ++rank) {
    answer(group, group.members[static_cast<size_t>(rank)], replies[static_cast<size_t>(rank)]);
  }
}

void MeetingPoint::split(Group& group) {
  std::map<int32_t, std::vector<std::pair<int32_t, int>>> parts; // key and rank, by color
  for (int rank = 0; rank < group.size(); ++rank) {
    const Request& request = *group.members[static_cast<size_t>(rank)].asks;
    parts[request.color].emplace_back(request.key < 0 ? rank : request.key, rank);
  }
  for (auto& [color, part] : parts) {
    std::sort(part.begin(), part.end());
    const int64_t number = next_group_++;
    groups_[number].members.resize(part.size());
    for (size_t i = 0; i < part.size(); ++i) {
      Reply reply{};
      reply.group = number;
      reply.rank = static_cast<int32_t>(i);
      reply.size = static_cast<int32_t>(part.size());
      answer(group, group.members[static_cast<size_t>(part[i].second)], reply);
    }
  }
}

void MeetingPoint::give_up_late(Group& group, Clock::time_point now) {
  for (int rank = 0; rank < group.size(); ++rank) {
    Member& member = group.members[static_cast<size_t>(rank)];
    if (!member.asks || now < member.deadline) {
      continue;
    }
    std::vector<int> missing;
    if (is_of_pair(*member.asks)) {
      missing.push_back(member.asks->peer);
    } else {
      for (int other = 0; other < group.size(); ++other) {
        const std::optional<Request>& asks = group.members[static_cast<size_t>(other)].asks;
        if (!asks || is_of_pair(*asks)) {
          missing.push_back(other);
        }
      }
    }
    group.failure = text_of_late(member.asks->header, rank, group.size(), member.timeout, missing);
    Reply reply{};
    reply.kind = Reply::failed;
    reply.set_text(group.failure);
    answer(group, member, reply);
    fail(group, rank);
    return;
  }
}

// A member has died, or its connection is broken.
void MeetingPoint::lose(Group& group, int rank) {
  Member& member = group.members[static_cast<size_t>(rank)];
  member.socket.close();
  member.asks.reset();
  member.is_gone = true;
  if (group.has_ended || !group.failure.empty()) {
    return;
  }
  group.failure = concat_message("rank ", rank, " has died, or cannot be reached any more.");
  fail(group, rank);
}

// Tells members that the group cannot go on: those that ask, and those whose operation may be
// running.
void MeetingPoint::fail(Group& group, int but) {
  for (int rank = 0; rank < group.size(); ++rank) {
    if (rank != but) {
      tell_failure(group, rank);
    }
  }
}

void MeetingPoint::tell_failure(Group& group, int rank) {
  Member& member = group.members[static_cast<size_t>(rank)];
  Reply reply{};
  reply.kind = Reply::failed;
  reply.set_text(
      member.asks ? concat_message(
                        text_of_place(member.asks->header, rank, group.size()), ": ", group.failure)
                  : group.failure);
  answer(group, member, reply);
}

void MeetingPoint::answer(const Group& group, Member& member, Reply reply) {
  member.asks.reset();
  reply.sequence = group.sequence;
  // A connection that is broken is noticed when it is read.
  if (member.socket.is_open()) {
    send_all(member.socket, &reply, sizeof(reply));
  }
}

} // namespace narrows::nccl
