// The order of operations of several processes: those of a group run in the order in which they
// were recorded, in whichever order a plan has the rest.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// Each operation of a group makes a token, an empty array. The next one takes it as an input. So no
// plan can run them in another order, and processes that record the same operations cannot wait for
// each other in a circle.
inline const OutputSpec kTokenSpec{{0}, bool_};

// The token that the next operation takes; no array if there is none.
array latest_token(int group);
void set_latest_token(int group, const array& token);

// An operation of the group has failed: those that are recorded from now on do not depend on it.
// Takes no locks that are held while something is recorded.
void forget_tokens(int group);

// A function is recorded with placeholders while it lives, on this thread. Its tokens are not those
// of the operations around it.
class TokenScope {
 public:
  enum class Start : uint8_t {
    none,        // the first operations of the function take no tokens
    placeholder, // they take placeholders
  };
  explicit TokenScope(Start start);
  ~TokenScope();
  TokenScope(const TokenScope&) = delete;
  TokenScope& operator=(const TokenScope&) = delete;

  // The groups of the function's operations, with the placeholder and the last token.
  struct Used {
    int group;
    array first;
    array last;
  };
  const std::vector<Used>& used() const {
    return used_;
  }

 private:
  friend array latest_token(int group);
  friend void set_latest_token(int group, const array& token);
  Used& of(int group);

  const Start start_;
  std::vector<Used> used_;
  TokenScope* const outer_;
};

} // namespace narrows
