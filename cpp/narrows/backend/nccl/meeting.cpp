#include "narrows/backend/nccl/meeting.h"

#include <thread>

#include "narrows/core/errors.h"
#include "narrows/runtime/wait.h"

namespace narrows::nccl {
namespace {

// The meeting point ends waits. If it has said nothing for so much longer, it hangs.
constexpr double kGraceSeconds = 10;
constexpr std::chrono::milliseconds kPause{20}; // between two attempts to connect

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

} // namespace

Meeting::Meeting(const MeetingPlace& place, int64_t group, int rank, int size, double timeout)
    : rank_(rank), size_(size), timeout_(timeout) {
  const Clock::time_point start = Clock::now();
  poll_until(
      [&] {
        socket_ = connect_to(place.host, place.port, Clock::now() + std::chrono::seconds(1));
        if (!socket_.is_open() && seconds_since(start) > timeout) {
          fail<std::runtime_error>(
              "[init] rank ",
              rank,
              " of ",
              size,
              ": waited ",
              timeout,
              " s for rank 0 to listen at ",
              place.host,
              ", port ",
              place.port,
              ".");
        }
        if (!socket_.is_open()) {
          std::this_thread::sleep_for(kPause);
        }
        return socket_.is_open();
      },
      true);
  const Hello hello{kMagic, group, rank, size, timeout};
  send_all(socket_, &hello, sizeof(hello));
}

Reply Meeting::ask(const Request& request) {
  std::lock_guard lock(mutex_);
  const std::string place = text_of_place(request.header, rank_, size_);
  if (const std::string known = failure(); !known.empty()) {
    fail<std::runtime_error>(place, ": the group cannot go on after an earlier failure: ", known);
  }
  // What has happened before the operation was known does not name it.
  const auto fail_with = [&](const std::string& words) {
    throw std::runtime_error(words.starts_with(place) ? words : place + ": " + words);
  };
  Reply reply{};
  try {
    using State = Incoming<Reply>::State;
    State state = send_all(socket_, &request, sizeof(request)) ? State::partial : State::broken;
    const Clock::time_point start = Clock::now();
    poll_until(
        [&] {
          if (state == State::partial) {
            state = incoming_.receive(socket_);
          }
          if (state == State::broken) {
            fail<std::runtime_error>(place, ": rank 0 has died, or cannot be reached any more.");
          }
          if (has_left_) {
            fail_with(failure());
          }
          if (state == State::partial && seconds_since(start) > timeout_ + kGraceSeconds) {
            fail<std::runtime_error>(
                place, ": rank 0 has said nothing for ", timeout_ + kGraceSeconds, " s.");
          }
          return state == State::whole;
        },
        true);
    reply = incoming_.take();
    sequence_ = reply.sequence;
    if (reply.kind == Reply::failed) {
      fail_with(reply.words());
    }
  } catch (const std::exception& error) {
    note_failure(error.what());
    socket_.close(); // others learn that this process does not come
    throw;
  }
  if (reply.kind != Reply::go) {
    throw std::runtime_error(reply.words());
  }
  return reply;
}

void Meeting::leave(const std::string& why) {
  note_failure(why);
  has_left_ = true; // a thread that asks closes the connection
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock()) {
    socket_.close();
  }
}

std::string Meeting::failure() {
  std::lock_guard lock(failure_mutex_);
  return failure_;
}

void Meeting::note_failure(const std::string& words) {
  std::lock_guard lock(failure_mutex_);
  if (failure_.empty()) {
    failure_ = words;
  }
}

std::string Meeting::look() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock() && failure().empty()) {
    using State = Incoming<Reply>::State;
    const State state = incoming_.receive(socket_);
    if (state == State::broken) {
      note_failure("rank 0 has died, or cannot be reached any more.");
    } else if (state == State::whole) {
      note_failure(incoming_.take().words()); // nobody has asked, so it is bad news
    }
  }
  return failure();
}

} // namespace narrows::nccl
