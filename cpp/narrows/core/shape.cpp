#include "narrows/core/shape.h"

#include <algorithm>

#include "narrows/core/errors.h"

namespace narrows {

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) {
      text += ", ";
    }
    text += std::to_string(shape[i]);
  }
  text += shape.size() == 1 ? ",)" : ")";
  return text;
}

int64_t checked_multiply(const char* op, int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) {
    fail<ValueError>("[", op, "] ", a, " * ", b, " does not fit in a 64-bit size.");
  }
  return product;
}

int64_t checked_size(const char* op, const Shape& shape) {
  int64_t count = 1;
  bool empty = false;
  bool overflow = false;
  for (int64_t n : shape) {
    if (n < 0) {
      fail<ValueError>(
          "[", op, "] negative dimension in shape ", to_string(shape), ", expected all >= 0.");
    }
    empty |= n == 0;
    overflow |= __builtin_mul_overflow(count, n, &count);
  }
  // 16 is the size of the largest element, so byte counts cannot overflow either.
  if (!empty && (overflow || count > INT64_MAX / 16)) {
    fail<ValueError>(
        "[", op, "] shape ", to_string(shape), " has more elements than a 64-bit size can count.");
  }
  return empty ? 0 : count;
}

int normalize_axis(const char* op, int axis, const Shape& shape) {
  const int ndim = shape.ndim();
  if (axis < -ndim || axis >= ndim) {
    fail<IndexError>(
        "[", op, "] axis ", axis, " is out of range for an array of shape ", to_string(shape), ".");
  }
  return axis < 0 ? axis + ndim : axis;
}

Axes normalize_axes(const char* op, const Axes& axes, const Shape& shape) {
  Axes result;
  for (int axis : axes) {
    result.push_back(normalize_axis(op, axis, shape));
  }
  std::sort(result.begin(), result.end());
  if (const int* twice = std::adjacent_find(result.begin(), result.end()); twice != result.end()) {
    fail<ValueError>("[", op, "] axis ", *twice, " is given more than once.");
  }
  return result;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    int64_t& n = result[offset + i];
    if (n == 1) {
      n = shorter[i];
    } else if (shorter[i] != 1 && shorter[i] != n) {
      fail<ValueError>(
          "[", op, "] shapes ", to_string(a), " and ", to_string(b), " cannot be broadcast.");
    }
  }
  return result;
}

Strides row_major_strides(const Shape& shape) {
  Strides strides(shape.size());
  uint64_t stride = 1; // wraps where a dimension of zero makes strides meaningless
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(shape[i]);
  }
  return strides;
}

} // namespace narrows
