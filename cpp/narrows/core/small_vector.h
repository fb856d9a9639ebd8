// A vector of trivially copyable elements that keeps a few of them in place.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace narrows {

template <typename T, uint32_t N>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;

  SmallVector() = default;
  explicit SmallVector(size_t count, T value = T{}) {
    resize(count, value);
  }
  SmallVector(std::initializer_list<T> values) : SmallVector(values.begin(), values.end()) {
  }
  template <typename It>
  requires(!std::is_integral_v<It>) SmallVector(It first, It last) {
    for (; first != last; ++first) {
      push_back(static_cast<T>(*first));
    }
  }
  SmallVector(const SmallVector& other) {
    assign(other.data(), other.size_);
  }
  SmallVector(SmallVector&& other) noexcept {
    take(other);
  }
  SmallVector& operator=(const SmallVector& other) {
    if (this != &other) {
      size_ = 0;
      assign(other.data(), other.size_);
    }
    return *this;
  }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this != &other) {
      delete[] heap_;
      take(other);
    }
    return *this;
  }
  ~SmallVector() {
    delete[] heap_;
  }

  size_t size() const {
    return size_;
  }
  int ndim() const {
    return static_cast<int>(size_);
  }
  bool empty() const {
    return size_ == 0;
  }
  T* data() {
    return heap_ ? heap_ : inline_;
  }
  const T* data() const {
    return heap_ ? heap_ : inline_;
  }
  T* begin() {
    return data();
  }
  T* end() {
    return data() + size_;
  }
  const T* begin() const {
    return data();
  }
  const T* end() const {
    return data() + size_;
  }
  T& operator[](size_t i) {
    return data()[i];
  }
  const T& operator[](size_t i) const {
    return data()[i];
  }
  T& back() {
    return data()[size_ - 1];
  }
  const T& back() const {
    return data()[size_ - 1];
  }
  void push_back(T value) {
    if (size_ == capacity_) {
      grow(2 * capacity_);
    }
    data()[size_++] = value;
  }
  void pop_back() {
    --size_;
  }
  void clear() {
    size_ = 0;
  }
  void resize(size_t count, T value = T{}) {
    if (count > capacity_) {
      grow(static_cast<uint32_t>(count));
    }
    for (T* p = data(); size_ < count; ++size_) {
      p[size_] = value;
    }
    size_ = static_cast<uint32_t>(count);
  }
  void insert(size_t position, T value) {
    push_back(value);
    for (size_t i = size_ - 1; i > position; --i) {
      std::swap(data()[i], data()[i - 1]);
    }
  }
  void erase(size_t position) {
    std::memmove(data() + position, data() + position + 1, (size_ - position - 1) * sizeof(T));
    --size_;
  }
  bool operator==(const SmallVector& other) const {
    if (size_ != other.size_) {
      return false;
    }
    for (size_t i = 0; i < size_; ++i) {
      if (!((*this)[i] == other[i])) {
        return false;
      }
    }
    return true;
  }

 private:
  void grow(uint32_t capacity) {
    T* heap = new T[capacity];
    std::memcpy(heap, data(), size_ * sizeof(T));
    delete[] heap_;
    heap_ = heap;
    capacity_ = capacity;
  }
  void assign(const T* values, uint32_t count) {
    if (count > capacity_) {
      grow(count);
    }
    std::memcpy(data(), values, count * sizeof(T));
    size_ = count;
  }
  void take(SmallVector& other) {
    size_ = other.size_;
    capacity_ = other.capacity_;
    heap_ = std::exchange(other.heap_, nullptr);
    if (!heap_) {
      std::memcpy(inline_, other.inline_, size_ * sizeof(T));
    }
    other.size_ = 0;
    other.capacity_ = N;
  }

  uint32_t size_ = 0;
  uint32_t capacity_ = N;
  T* heap_ = nullptr;
  T inline_[N];
};

} // namespace narrows
