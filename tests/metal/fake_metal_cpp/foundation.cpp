#include <Foundation/Foundation.hpp>

#include "state.h"

namespace NS {
namespace {

thread_local std::vector<AutoreleasePool*> pools;

} // namespace

Object::Object() {
  ++fake_metal::world().objects;
}

Object::~Object() {
  --fake_metal::world().objects;
}

void Object::retain_object() const {
  ++count_;
}

void Object::release_object() const {
  if (--count_ == 0) {
    delete this;
  }
}

void Object::autorelease_object() const {
  if (pools.empty()) {
    fake_metal::note("an object was autoreleased where there is no pool");
    return;
  }
  pools.back()->fake_objects.push_back(this);
}

AutoreleasePool* AutoreleasePool::alloc() {
  return new AutoreleasePool;
}

AutoreleasePool* AutoreleasePool::init() {
  pools.push_back(this);
  return this;
}

void AutoreleasePool::release() {
  if (pools.empty() || pools.back() != this) {
    fake_metal::note("autorelease pools were released out of order");
    return;
  }
  pools.pop_back();
  for (const Object* object : fake_objects) {
    object->release_object();
  }
  release_object();
}

String* String::string(const char* text, StringEncoding) {
  auto* string = new String;
  string->fake_text = text;
  return string->autorelease();
}

String* Error::localizedDescription() const {
  return String::string(fake_text.c_str(), UTF8StringEncoding);
}

URL* URL::fileURLWithPath(const String* path) {
  auto* url = new URL;
  url->fake_path = path->utf8String();
  return url->autorelease();
}

Array::~Array() {
  for (String* item : fake_items) {
    item->release();
  }
}

} // namespace NS
