#include "narrows/backend/nccl/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "narrows/core/errors.h"

namespace narrows::nccl {
namespace {

// How long a connection may take what is sent: more than a moment only where the other side hangs.
constexpr int kPatienceMs = 5000;

void set(const Socket& socket, int level, int option, int value) {
  setsockopt(socket.descriptor(), level, option, &value, sizeof(value));
}

// Messages leave at once, and a machine that has vanished is noticed.
void prepare(const Socket& socket) {
  fcntl(socket.descriptor(), F_SETFL, O_NONBLOCK);
  fcntl(socket.descriptor(), F_SETFD, FD_CLOEXEC);
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE)
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses addresses_of(const std::string& host, uint16_t port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
  if (error != 0) {
    fail<std::runtime_error>("[init] host ", host, ": ", gai_strerror(error), ".");
  }
  return {found, freeaddrinfo};
}

bool waits_for(int descriptor, short events, int milliseconds) {
  pollfd asked{descriptor, events, 0};
  return poll(&asked, 1, milliseconds) > 0;
}

} // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

Socket listen_on(uint16_t port) {
  Socket socket(::socket(AF_INET6, SOCK_STREAM, 0));
  const bool is_six = socket.is_open();
  if (!is_six) {
    socket = Socket(::socket(AF_INET, SOCK_STREAM, 0));
  }
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  if (is_six) {
    set(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  }
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  const auto* address =
      is_six ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
  const socklen_t length = is_six ? sizeof(six) : sizeof(four);
  if (!socket.is_open() || bind(socket.descriptor(), address, length) != 0 ||
      listen(socket.descriptor(), SOMAXCONN) != 0) {
    fail<std::runtime_error>(
        "[init] port ", port, ": ", std::strerror(errno), ", expected a free port in MASTER_PORT.");
  }
  prepare(socket);
  return socket;
}

uint16_t port_of(const Socket& listening) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(listening.descriptor(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(
      address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                    : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

Socket accept_from(const Socket& listening) {
  Socket socket(accept(listening.descriptor(), nullptr, nullptr));
  if (socket.is_open()) {
    prepare(socket);
  }
  return socket;
}

Socket connect_to(const std::string& host, uint16_t port, Clock::time_point until) {
  const Addresses all = addresses_of(host, port);
  for (const addrinfo* one = all.get(); one; one = one->ai_next) {
    Socket socket(::socket(one->ai_family, one->ai_socktype, one->ai_protocol));
    if (!socket.is_open()) {
      continue;
    }
    prepare(socket);
    if (connect(socket.descriptor(), one->ai_addr, one->ai_addrlen) != 0) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
      const int most =
          static_cast<int>(std::min<int64_t>(std::max<int64_t>(left.count(), 0), 1000));
      int error = 0;
      socklen_t length = sizeof(error);
      if (errno != EINPROGRESS || !waits_for(socket.descriptor(), POLLOUT, most) ||
          getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error) {
        continue;
      }
    }
    return socket;
  }
  return {};
}

bool send_all(const Socket& socket, const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(socket.descriptor(), from, bytes, MSG_NOSIGNAL);
    if (sent > 0) {
      from += sent;
      bytes -= static_cast<size_t>(sent);
    } else if (
        errno == EINTR ||
        (errno == EAGAIN && waits_for(socket.descriptor(), POLLOUT, kPatienceMs))) {
      continue;
    } else {
      return false;
    }
  }
  return true;
}

int64_t receive_some(const Socket& socket, void* data, size_t bytes) {
  for (;;) {
    const ssize_t count = recv(socket.descriptor(), data, bytes, 0);
    if (count > 0) {
      return count;
    }
    if (count < 0 && errno == EINTR) {
      continue;
    }
    return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
  }
}

} // namespace narrows::nccl
