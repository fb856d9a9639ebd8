// What processes and their meeting point tell each other. All of them run the same program on
// processors of the same kind, so structs are sent as they lie in memory.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "narrows/runtime/collective_header.h"

namespace narrows::nccl {

// What connects communicators: an ncclUniqueId.
using UniqueId = std::array<char, 128>;

inline constexpr uint64_t kMagic = 0x3173776f7272616e; // "narrows1"

// The first message of a connection: a member of a group.
struct Hello {
  uint64_t magic;
  int64_t group;
  int32_t rank;
  int32_t size;
  double timeout; // seconds
};

// A member has come to an operation. It waits for the reply.
struct Request {
  Header header;
  int32_t peer;  // of send and recv
  int32_t color; // of split
  int32_t key;
  UniqueId id; // of init, from rank 0
};

struct Reply {
  enum Kind : int32_t {
    go,       // all are there, and do the same
    mismatch, // all are there, and do not; the group goes on
    failed,   // some do not come, or have died; the group cannot go on
  };
  int32_t kind;
  int32_t rank; // of a split: the place in the new group,
  int32_t size; // and how many it has
  int64_t group;
  int64_t sequence;           // how many operations of all its members the group has begun by now
  UniqueId id;                // of init
  std::array<char, 856> text; // of an error

  void set_text(std::string_view words) {
    const size_t length = std::min(words.size(), text.size() - 1);
    std::memcpy(text.data(), words.data(), length);
    text[length] = '\0';
  }
  std::string words() const {
    return {text.data(), strnlen(text.data(), text.size())};
  }
};

static_assert(std::is_trivially_copyable_v<Hello> && std::is_trivially_copyable_v<Request>);
static_assert(std::is_trivially_copyable_v<Reply>);

} // namespace narrows::nccl
