// metal-cpp, with scopes for its objects.
#pragma once

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>

#include <string>

namespace narrows::metal {

// Objects that Metal returns without ownership are released at the end of the scope.
class AutoreleaseScope {
 public:
  AutoreleaseScope() : pool_(NS::AutoreleasePool::alloc()->init()) {
  }
  ~AutoreleaseScope() {
    pool_->release();
  }
  AutoreleaseScope(const AutoreleaseScope&) = delete;
  AutoreleaseScope& operator=(const AutoreleaseScope&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

// Both need an AutoreleaseScope around them.
inline NS::String* to_ns(const std::string& text) {
  return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}
inline std::string describe(const NS::Error* error) {
  return error ? error->localizedDescription()->utf8String() : "no reason given";
}

} // namespace narrows::metal
