// The part of metal-cpp's Foundation that the Metal backend uses, with real reference counts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace NS {

using Integer = std::intptr_t;
using UInteger = std::uintptr_t;

class Object {
 public:
  Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

 protected:
  virtual ~Object();
  void retain_object() const;
  void release_object() const;
  void autorelease_object() const;

 private:
  friend class AutoreleasePool;
  mutable std::atomic<int64_t> count_{1};
};

template <typename Class, typename Base = Object>
class Referencing : public Base {
 public:
  Class* retain() {
    this->retain_object();
    return static_cast<Class*>(this);
  }
  void release() {
    this->release_object();
  }
  Class* autorelease() {
    this->autorelease_object();
    return static_cast<Class*>(this);
  }
};
template <typename Class, typename Base = Object>
class Copying : public Referencing<Class, Base> {};

template <typename Class>
class SharedPtr {
 public:
  SharedPtr() = default;
  SharedPtr(const SharedPtr& other) : object_(other.object_) {
    if (object_) {
      object_->retain();
    }
  }
  SharedPtr(SharedPtr&& other) noexcept : object_(other.object_) {
    other.object_ = nullptr;
  }
  SharedPtr& operator=(SharedPtr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~SharedPtr() {
    reset();
  }
  Class* get() const {
    return object_;
  }
  Class* operator->() const {
    return object_;
  }
  explicit operator bool() const {
    return object_ != nullptr;
  }
  void reset() {
    if (object_) {
      object_->release();
    }
    object_ = nullptr;
  }

 private:
  template <typename C>
  friend SharedPtr<C> RetainPtr(C* object);
  template <typename C>
  friend SharedPtr<C> TransferPtr(C* object);

  Class* object_ = nullptr;
};
template <typename C>
SharedPtr<C> TransferPtr(C* object) {
  SharedPtr<C> result;
  result.object_ = object;
  return result;
}
template <typename C>
SharedPtr<C> RetainPtr(C* object) {
  return TransferPtr(object ? object->retain() : nullptr);
}

class AutoreleasePool : public Object {
 public:
  static AutoreleasePool* alloc();
  AutoreleasePool* init();
  void release();

  std::vector<const Object*> fake_objects;
};

enum StringEncoding : UInteger { UTF8StringEncoding = 4 };

class String : public Copying<String> {
 public:
  static String* string(const char* text, StringEncoding encoding);
  const char* utf8String() const {
    return fake_text.c_str();
  }

  std::string fake_text;
};

class Error : public Copying<Error> {
 public:
  String* localizedDescription() const;

  std::string fake_text;
};

class URL : public Copying<URL> {
 public:
  static URL* fileURLWithPath(const String* path);

  std::string fake_path;
};

class Array : public Copying<Array> {
 public:
  template <typename T = Object>
  T* object(UInteger index) const {
    return static_cast<T*>(fake_items.at(index));
  }
  UInteger count() const {
    return fake_items.size();
  }
  ~Array() override;

  std::vector<String*> fake_items;
};

} // namespace NS
