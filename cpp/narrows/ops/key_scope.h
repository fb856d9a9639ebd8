// Random keys that a function takes, noted and given to it again.
#pragma once

#include <vector>

#include "narrows/ops/random.h"

namespace narrows::random {

// default_keys().next(s), which operations use that were given no key.
array default_key(StreamOrDevice s = {});

// The keys that a function took from default_keys(), in their order, and the state before them.
struct KeysTaken {
  array state;
  std::vector<array> keys;
};

// How this thread takes keys from default_keys() while it lives. The innermost scope decides.
class KeyScope {
 public:
  KeyScope();
  virtual ~KeyScope();
  KeyScope(const KeyScope&) = delete;
  KeyScope& operator=(const KeyScope&) = delete;

 protected:
  virtual array next(StreamOrDevice s) = 0;
  virtual KeySequence& sequence() = 0;
  array next_outside(StreamOrDevice s) const;
  KeySequence& sequence_outside() const;

 private:
  friend KeySequence& default_keys();
  friend array default_key(StreamOrDevice s);
  KeyScope* const outer_;
};

// Notes the keys.
class NotedKeys final : public KeyScope {
 public:
  explicit NotedKeys(KeysTaken& into);

 private:
  array next(StreamOrDevice s) override;
  KeySequence& sequence() override;
  KeysTaken& into_;
};

// Gives the same keys again, whatever other threads have taken since. Afterwards default_keys() go
// on as if none had been taken.
class RepeatedKeys final : public KeyScope {
 public:
  explicit RepeatedKeys(const KeysTaken& taken);

 private:
  array next(StreamOrDevice s) override;
  KeySequence& sequence() override;
  const KeysTaken& taken_;
  size_t position_ = 0;
  KeySequence own_;
};

} // namespace narrows::random
