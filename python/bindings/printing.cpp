#include "bindings/printing.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <vector>

#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/core/dispatch.h"

namespace narrows::python {
namespace {

// Longer dimensions show so many entries at either end.
constexpr int64_t kLongest = 6;
constexpr int64_t kEnds = 3;

struct PrintOptions {
  int precision = -1; // digits after the point; negative: six significant digits
};

std::atomic<int> current_precision{-1};

std::string format_float(double value) {
  const int precision = current_precision.load();
  char text[512];
  if (precision < 0) {
    std::snprintf(text, sizeof(text), "%g", value);
  } else {
    // `text` is too short for a large number with a long fraction: %f prints up to 309 digits of a
    // double.
    const int size = std::snprintf(text, sizeof(text), "%.*f", precision, value);
    if (size >= static_cast<int>(sizeof(text))) {
      std::string large(static_cast<size_t>(size) + 1, '\0');
      std::snprintf(large.data(), large.size(), "%.*f", precision, value);
      large.pop_back();
      return large;
    }
  }
  return text;
}

template <typename T>
std::string format_element(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "True" : "False";
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_same_v<T, complex64_t>) {
    const std::string imaginary = format_float(value.imag());
    return format_float(value.real()) + (imaginary[0] == '-' ? "" : "+") + imaginary + "j";
  } else if constexpr (std::is_same_v<T, double>) {
    return format_float(value);
  } else {
    return format_float(static_cast<float>(value));
  }
}

class Printer {
 public:
  explicit Printer(const array& a) : array_(a) {
    print(0, a.data<std::byte>());
  }
  std::string take() {
    return std::move(text_);
  }

 private:
  void print(int axis, const std::byte* data) {
    if (axis == array_.ndim()) {
      dispatch(array_.dtype(), [&](auto tag) {
        typename decltype(tag)::type value;
        std::memcpy(static_cast<void*>(&value), data, sizeof(value));
        text_ += format_element(value);
      });
      return;
    }
    const int64_t count = array_.shape()[static_cast<size_t>(axis)];
    const int64_t step = array_.layout().strides[static_cast<size_t>(axis)] * array_.itemsize();
    text_ += '[';
    for (int64_t i = 0; i < count; ++i) {
      if (i > 0) {
        separate(axis);
      }
      if (count > kLongest && i == kEnds) {
        text_ += "...";
        i = count - kEnds - 1;
      } else {
        print(axis + 1, data + i * step);
      }
    }
    text_ += ']';
  }

  // Numbers stand on one line; everything else stands on lines of its own, below its first bracket.
  void separate(int axis) {
    if (axis + 1 == array_.ndim()) {
      text_ += ", ";
    } else {
      text_ += ",\n";
      text_.append(sizeof("array(") + static_cast<size_t>(axis), ' ');
    }
  }

  const array& array_;
  std::string text_;
};

// with printoptions(...): sets and restores.
class PrintOptionsContext {
 public:
  explicit PrintOptionsContext(int precision) : precision_(precision) {
  }
  void enter() {
    saved_.push_back(current_precision.exchange(precision_));
  }
  void exit() {
    current_precision = saved_.back();
    saved_.pop_back();
  }

 private:
  int precision_;
  std::vector<int> saved_;
};

} // namespace

std::string describe(const array& a) {
  const array held = evaluated_on_host(a);
  return "array(" + Printer(held).take() + ", dtype=" + std::string(name_of(held.dtype())) + ")";
}

namespace {

void bind_printing(nb::module_& m) {
  nb::class_<PrintOptions>(m, "PrintOptions", "How arrays are printed.")
      .def_ro(
          "precision",
          &PrintOptions::precision,
          "Digits after the point; negative: six significant digits.");
  nb::class_<PrintOptionsContext>(m, "_PrintOptionsContext", "What printoptions() returns.")
      .def(
          "__enter__",
          [](nb::handle self) {
            nb::cast<PrintOptionsContext&>(self).enter();
            return nb::borrow(self);
          })
      .def("__exit__", [](PrintOptionsContext& self, const nb::args&) { self.exit(); });
  define<"get_printoptions() -> PrintOptions">(
      m,
      [] { return PrintOptions{current_precision}; },
      R"(How arrays are printed.

      Returns:
        An object with `precision`: see `set_printoptions()`.

      Example:
        >>> mx.get_printoptions().precision
        -1
      )");
  define<"set_printoptions(precision: int = -1) -> None">(
      m,
      [](int precision) { current_precision = precision; },
      R"(Sets how arrays are printed.

      Args:
        precision: Digits after the point of floating point numbers; six significant digits if it is
          negative.

      Example:
        >>> mx.set_printoptions(precision=2)
        >>> mx.array([mx.pi])
        array([3.14], dtype=float32)
        >>> mx.set_printoptions()
      )");
  define<"printoptions(precision: int = -1) -> contextlib.AbstractContextManager[object]">(
      m,
      [](int precision) { return PrintOptionsContext(precision); },
      R"(A scope in which arrays are printed in a given way.

      Args:
        precision: As for `set_printoptions()`.

      Returns:
        A context manager.

      Example:
        >>> with mx.printoptions(precision=2):
        ...     print(mx.array([mx.pi]))
        array([3.14], dtype=float32)
      )");
}

const Binding binding{&bind_printing};

} // namespace
} // namespace narrows::python
