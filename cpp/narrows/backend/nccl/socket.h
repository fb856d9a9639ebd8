// TCP connections that never block.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace narrows::nccl {

using Clock = std::chrono::steady_clock;

// A socket, closed at its end.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {
  }
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {
  }
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket();

  int descriptor() const {
    return descriptor_;
  }
  bool is_open() const {
    return descriptor_ >= 0;
  }
  void close() {
    *this = Socket();
  }

 private:
  int descriptor_ = -1;
};

// A socket on which others can connect; 0: a free port. RuntimeError if the port is taken.
Socket listen_on(uint16_t port);
uint16_t port_of(const Socket& listening);
// The next connection, not open if there is none.
Socket accept_from(const Socket& listening);
// A connection, not open if nobody listens there yet. RuntimeError if there is no such host.
Socket connect_to(const std::string& host, uint16_t port, Clock::time_point until);

// Sends all of it. Messages are short: they fit into what the system keeps for a connection. False
// if the connection is broken.
bool send_all(const Socket& socket, const void* data, size_t bytes);

// A message of fixed length that comes piece by piece.
template <typename Message>
class Incoming {
 public:
  enum class State { partial, whole, broken };
  State receive(const Socket& socket);
  // The message, once it is whole. The next one begins.
  Message take() {
    received_ = 0;
    return message_;
  }

 private:
  Message message_{};
  size_t received_ = 0;
};

// How many bytes came; 0: none now; -1: the connection is broken, or its other end is closed.
int64_t receive_some(const Socket& socket, void* data, size_t bytes);

template <typename Message>
auto Incoming<Message>::receive(const Socket& socket) -> State {
  while (received_ < sizeof(Message)) {
    const int64_t count = receive_some(
        socket, reinterpret_cast<std::byte*>(&message_) + received_, sizeof(Message) - received_);
    if (count <= 0) {
      return count < 0 ? State::broken : State::partial;
    }
    received_ += static_cast<size_t>(count);
  }
  return State::whole;
}

} // namespace narrows::nccl
