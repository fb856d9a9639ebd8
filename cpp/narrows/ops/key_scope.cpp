#include "narrows/ops/key_scope.h"

#include <random>

namespace narrows::random {

namespace {

KeySequence& process_keys() {
  // Never destroyed: buffers must not be freed after what they came from.
  static KeySequence* const keys = [] {
    std::random_device source;
    return new KeySequence(uint64_t{source()} << 32 | source());
  }();
  return *keys;
}

thread_local KeyScope* innermost_scope = nullptr;

} // namespace

KeySequence& default_keys() {
  return innermost_scope ? innermost_scope->sequence() : process_keys();
}

array default_key(StreamOrDevice s) {
  return innermost_scope ? innermost_scope->next(s) : process_keys().next(s);
}

KeyScope::KeyScope() : outer_(innermost_scope) {
  innermost_scope = this;
}

KeyScope::~KeyScope() {
  innermost_scope = outer_;
}

array KeyScope::next_outside(StreamOrDevice s) const {
  return outer_ ? outer_->next(s) : process_keys().next(s);
}

KeySequence& KeyScope::sequence_outside() const {
  return outer_ ? outer_->sequence() : process_keys();
}

NotedKeys::NotedKeys(KeysTaken& into) : into_(into) {
  into_.state = sequence_outside().state();
}

array NotedKeys::next(StreamOrDevice s) {
  into_.keys.push_back(next_outside(s));
  return into_.keys.back();
}

KeySequence& NotedKeys::sequence() {
  return sequence_outside();
}

RepeatedKeys::RepeatedKeys(const KeysTaken& taken) : taken_(taken), own_(0) {
  own_.set_state(taken.state);
}

array RepeatedKeys::next(StreamOrDevice s) {
  // The state moves on as it did the first time, for functions that look at it.
  const array key = own_.next(s);
  return position_ < taken_.keys.size() ? taken_.keys[position_++] : key;
}

KeySequence& RepeatedKeys::sequence() {
  return own_;
}

} // namespace narrows::random
