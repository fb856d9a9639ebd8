#include "narrows/ops/random.h"

#include <cmath>

#include <nanobind/stl/optional.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

using OptionalDtype = std::optional<Dtype>;

// The state of the default keys, as a list of one array, which evaluation finds.
struct RandomState {
  static void require(int64_t position) {
    if (position != 0 && position != -1) {
      fail<IndexError>("[random] state has one entry, got index ", position, ".");
    }
  }
};

array state_item(const RandomState&, int64_t position) {
  RandomState::require(position);
  return random::default_keys().state();
}

void set_state_item(const RandomState&, int64_t position, const array& key) {
  RandomState::require(position);
  random::default_keys().set_state(key);
}

nb::list state_list(const RandomState&) {
  nb::list items;
  items.append(random::default_keys().state());
  return items;
}

std::optional<array> optional_number(const char* op, nb::handle object, Dtype dtype) {
  return object.is_none() ? std::nullopt
                          : std::optional<array>(to_operand_beside(op, object, dtype));
}

std::optional<double> real_number(nb::handle object) {
  PyObject* p = object.ptr();
  if (PyBool_Check(p) || !(PyLong_Check(p) || PyFloat_Check(p))) {
    return std::nullopt;
  }
  const double value = PyFloat_AsDouble(p);
  if (value == -1 && PyErr_Occurred()) {
    throw nb::python_error();
  }
  return value;
}

array make_uniform(
    ScalarOrArray low,
    ScalarOrArray high,
    const Shape& shape,
    OptionalDtype wanted,
    const random::OptionalKey& key,
    const StreamArg& s) {
  const Dtype dtype = wanted.value_or(float32);
  const std::optional<double> from = real_number(low.object);
  const std::optional<double> to = real_number(high.object);
  if (from && to) {
    return *from == 0 && *to == 1 ? random::uniform(shape, dtype, key, s)
                                  : random::uniform(*from, *to, shape, dtype, key, s);
  }
  return random::uniform(
      to_operand_beside("uniform", low.object, dtype),
      to_operand_beside("uniform", high.object, dtype),
      shape,
      dtype,
      key,
      s);
}

// A bound of randint() that is a number of Python.
std::optional<__int128> integer_bound(nb::handle bound) {
  PyObject* p = bound.ptr();
  nb::object integer = nb::borrow(bound);
  if (PyFloat_Check(p)) {
    const double value = std::ceil(PyFloat_AS_DOUBLE(p));
    if (!std::isfinite(value)) {
      fail<ValueError>("[randint] bound ", value, ", expected a finite number.");
    }
    integer = nb::steal(PyLong_FromDouble(value));
  } else if (!PyLong_Check(p)) {
    return std::nullopt;
  }
  const auto half = [&](int shift) {
    return nb::steal(PyNumber_Rshift(integer.ptr(), nb::int_(shift).ptr()));
  };
  constexpr int kBits = 62;
  int overflow = 0;
  const long long upper = PyLong_AsLongLongAndOverflow(half(kBits).ptr(), &overflow);
  if (overflow || upper < -2 || upper > 4) {
    fail<ValueError>(
        "[randint] bound ", nb::str(integer).c_str(), " does not fit in a 64-bit integer.");
  }
  const auto lower = PyLong_AsUnsignedLongLongMask(integer.ptr()) & ((1ull << kBits) - 1);
  return (static_cast<__int128>(upper) << kBits) + static_cast<__int128>(lower);
}

array make_randint(
    ScalarOrArray low,
    ScalarOrArray high,
    const Shape& shape,
    OptionalDtype wanted,
    const random::OptionalKey& key,
    const StreamArg& s) {
  const Dtype dtype = wanted.value_or(int32);
  const std::optional<__int128> from = integer_bound(low.object);
  const std::optional<__int128> to = integer_bound(high.object);
  if (from && to) {
    return random::randint(*from, *to, shape, dtype, key, s);
  }
  return random::randint(
      to_operand("randint", low.object), to_operand("randint", high.object), shape, dtype, key, s);
}

void bind_keys(nb::module_& m) {
  nb::class_<RandomState>(m, "_RandomState", "A list of one key, from which all others follow.")
      .def("__len__", [](const RandomState&) { return 1; })
      .def("__getitem__", &state_item)
      .def("__setitem__", &set_state_item)
      .def("__iter__", [](const RandomState& self) { return nb::iter(state_list(self)); })
      .def("__narrows_arrays__", &state_list);
  m.attr("state") = RandomState{};
  define<"seed(seed: int) -> None">(
      m,
      [](uint64_t seed) { random::seed(seed); },
      R"(Begins anew the sequence of keys that are used where none is given.

      Args:
        seed: An integer of 64 bits.

      Example:
        >>> mx.random.seed(7)
        >>> a = mx.random.uniform()
        >>> mx.random.seed(7)
        >>> a.item() == mx.random.uniform().item()
        True
      )");
  define<"key(seed: int) -> array">(
      m,
      &random::key,
      R"(A key, from which random numbers follow.

      Args:
        seed: An integer of 64 bits.

      Returns:
        Shape (2,), uint32.

      Example:
        >>> mx.random.key(7)
        array([0, 7], dtype=uint32)
      )");
  define<"split(key: array, num: int = 2, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& key, int64_t num, const StreamArg& s) { return random::split(key, num, s); },
      R"(Independent keys made of one.

      Args:
        key: A key.
        num: How many.

      Returns:
        Shape (num, 2), uint32: a key in each row.

      Raises:
        ValueError: If `key` is no key.

      Example:
        >>> first, second = mx.random.split(mx.random.key(7))
      )");
}

void bind_continuous(nb::module_& m) {
  define<
      "uniform(low: scalar | array | ArrayLike = 0, high: scalar | array | ArrayLike = "
      "1, shape: Sequence[int] = [], dtype: Dtype | None = float32, key: array | None = "
      "None, stream: StreamOrDevice = None) -> array">(
      m,
      &make_uniform,
      R"(Uniform numbers of [low, high), rounded to the dtype.

      `high` is never returned, `low` where they are equal. If `low` is larger they are of
      (high, low].

      Args:
        low: The lower bound, which broadcasts to the shape.
        high: The upper bound, which broadcasts to the shape.
        shape: The shape of the result.
        dtype: A floating point dtype; None is float32.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: Unless the dtype is floating point, and if a bound does not broadcast.

      Example:
        >>> a = mx.random.uniform(2, 3, (1000,), key=mx.random.key(7))
        >>> mx.all((a >= 2) & (a < 3))
        array(True, dtype=bool)
      )");
  define<
      "normal(shape: Sequence[int] = [], dtype: Dtype | None = float32, loc: scalar | "
      "array | ArrayLike | None = None, scale: scalar | array | ArrayLike | None = None, "
      "key: array | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](const Shape& shape,
         OptionalDtype wanted,
         nb::handle loc,
         nb::handle scale,
         const random::OptionalKey& key,
         const StreamArg& s) {
        const Dtype dtype = wanted.value_or(float32);
        return random::normal(
            shape,
            dtype,
            optional_number("normal", loc, dtype),
            optional_number("normal", scale, dtype),
            key,
            s);
      },
      R"(Normal numbers.

      Args:
        shape: The shape of the result.
        dtype: A floating point dtype or complex64; None is float32.
        loc: The mean, which broadcasts to the shape; None is 0.
        scale: The standard deviation, which broadcasts to the shape; None is 1.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: For other dtypes, and if a parameter does not broadcast.

      Example:
        >>> mx.random.normal((2, 3), key=mx.random.key(7)).shape
        (2, 3)
      )");
  define<
      "truncated_normal(lower: scalar | array | ArrayLike, upper: scalar | array | "
      "ArrayLike, shape: Sequence[int] | None = None, dtype: Dtype | None = float32, "
      "key: array | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray lower,
         ScalarOrArray upper,
         const std::optional<Shape>& shape,
         OptionalDtype wanted,
         const random::OptionalKey& key,
         const StreamArg& s) {
        const Dtype dtype = wanted.value_or(float32);
        return random::truncated_normal(
            to_operand_beside("truncated_normal", lower.object, dtype),
            to_operand_beside("truncated_normal", upper.object, dtype),
            shape,
            dtype,
            key,
            s);
      },
      R"(Standard normal numbers of [lower, upper].

      Args:
        lower: The lower bound, which broadcasts to the shape.
        upper: The upper bound, which broadcasts to the shape.
        shape: The shape of the result; None is the one that the bounds broadcast to.
        dtype: A floating point dtype; None is float32.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: Unless the dtype is floating point, and if a bound does not broadcast.

      Example:
        >>> a = mx.random.truncated_normal(-1, 1, (1000,), key=mx.random.key(7))
        >>> mx.all(mx.abs(a) <= 1)
        array(True, dtype=bool)
      )");
  define<
      "gumbel(shape: Sequence[int] = [], dtype: Dtype | None = float32, key: array | "
      "None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](const Shape& shape,
         OptionalDtype dtype,
         const random::OptionalKey& key,
         const StreamArg& s) { return random::gumbel(shape, dtype.value_or(float32), key, s); },
      R"(Numbers of the standard Gumbel distribution.

      Args:
        shape: The shape of the result.
        dtype: A floating point dtype; None is float32.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: Unless the dtype is floating point.

      Example:
        >>> mx.random.gumbel((2, 3), key=mx.random.key(7)).shape
        (2, 3)
      )");
  define<
      "laplace(shape: Sequence[int] = [], dtype: Dtype | None = float32, loc: float = "
      "0.0, scale: float = 1.0, key: array | None = None, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const Shape& shape,
         OptionalDtype dtype,
         double loc,
         double scale,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::laplace(shape, dtype.value_or(float32), loc, scale, key, s);
      },
      R"(Numbers of a Laplace distribution.

      Args:
        shape: The shape of the result.
        dtype: A floating point dtype; None is float32.
        loc: The mean.
        scale: The scale: the standard deviation divided by the square root of 2.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: Unless the dtype is floating point.

      Example:
        >>> mx.random.laplace((2, 3), key=mx.random.key(7)).shape
        (2, 3)
      )");
}

void bind_multivariate(nb::module_& m) {
  define<
      "multivariate_normal(mean: array, cov: array, shape: Sequence[int] = [], dtype: Dtype | None "
      "= float32, key: array | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& mean,
         const array& cov,
         const Shape& shape,
         OptionalDtype dtype,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::multivariate_normal(mean, cov, shape, dtype.value_or(float32), key, s);
      },
      R"(Vectors of normal numbers with a mean and a covariance.

      They are `mean` plus standard normal numbers times the square root of `cov`, made of its
      singular values: MLX's numbers up to rounding. A matrix that is not symmetric, or has negative
      eigenvalues, is no covariance; it raises nothing, and the vectors mean nothing.

      Args:
        mean: The mean, of shape (..., n). Real; computed in float32, as is `cov`.
        cov: The covariance, of shape (..., n, n): symmetric, without negative eigenvalues.
        shape: Batches of `mean` and `cov` broadcast with it.
        dtype: float32, or None for it.
        key: A key; None takes the next one of the default sequence.

      Returns:
        float32, of shape (..., n): `shape` and both batches broadcast, then n.

      Raises:
        ValueError: For another dtype, for complex parameters, and if shapes do not fit.

      Example:
        >>> cov = mx.array([[2.0, 0.5], [0.5, 1.0]])
        >>> mx.random.multivariate_normal(mx.zeros((2,)), cov, (3,), key=mx.random.key(7)).shape
        (3, 2)
      )");
}

void bind_discrete(nb::module_& m) {
  define<
      "randint(low: scalar | array | ArrayLike, high: scalar | array | ArrayLike, shape: "
      "Sequence[int] = [], dtype: Dtype | None = int32, key: array | None = None, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &make_randint,
      R"(Integers of [low, high), or `low` where that is empty.

      Each integer is the upper part of 64 random bits times the number of integers, or of 96 bits
      where that may exceed 2**32 (Lemire, "Fast random integer generation in an interval", 2019),
      so that no probability is off by more than 2**-32 of itself. Small ranges give the integers
      that MLX gives, but for the few that it rounds; large ones do not, which there are multiples
      of a power of two. Of bool: whether the integer is not zero. Integers of arrays that `dtype`
      does not hold wrap around.

      Args:
        low: The lower bound, which broadcasts to the shape.
        high: The upper bound, which broadcasts to the shape.
        shape: The shape of the result.
        dtype: An integer dtype or bool; None is int32.
        key: A key; None takes the next one of the default sequence.

      Returns:
        An array of that shape.

      Raises:
        ValueError: For other dtypes, if a bound does not broadcast, and if `dtype` does not hold
          the range of two numbers.

      Example:
        >>> a = mx.random.randint(0, 6, (1000,), key=mx.random.key(7))
        >>> mx.min(a), mx.max(a)
        (array(0, dtype=int32), array(5, dtype=int32))
      )");
  define<
      "bernoulli(p: scalar | array | ArrayLike = 0.5, shape: Sequence[int] | None = "
      "None, key: array | None = None, stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray p,
         const std::optional<Shape>& shape,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::bernoulli(to_operand("bernoulli", p.object), shape, key, s);
      },
      R"(True with a given probability.

      Args:
        p: The probability of true, which broadcasts to the shape.
        shape: The shape of the result; None is that of `p`.
        key: A key; None takes the next one of the default sequence.

      Returns:
        bool.

      Raises:
        ValueError: If `p` does not broadcast.

      Example:
        >>> mx.random.bernoulli(mx.array([0.0, 1.0]))
        array([False, True], dtype=bool)
      )");
  define<
      "categorical(logits: array, axis: int = -1, shape: Sequence[int] | None = None, "
      "num_samples: int | None = None, key: array | None = None, stream: StreamOrDevice "
      "= None) -> array">(
      m,
      [](const array& logits,
         int axis,
         const std::optional<Shape>& shape,
         std::optional<int64_t> num_samples,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::categorical(logits, axis, shape, num_samples, key, s);
      },
      R"(Indices along an axis, drawn with the probabilities softmax(logits, axis).

      Args:
        logits: The logarithms of the probabilities, up to a constant.
        axis: The axis of the categories.
        shape: The shape of the result, to which that of `logits` without the axis broadcasts.
        num_samples: How many are drawn for each position: they are the last dimension.
        key: A key; None takes the next one of the default sequence.

      Returns:
        uint32. Without `shape` and `num_samples`, one index for each position of the other axes.

      Raises:
        ValueError: If both `shape` and `num_samples` are given, or a shape does not fit.

      Example:
        >>> mx.random.categorical(mx.array([[0.0, 99.0], [99.0, 0.0]]))
        array([1, 0], dtype=uint32)
      )");
  define<
      "permutation(x: int | array, axis: int = 0, key: array | None = None, stream: "
      "StreamOrDevice = None) -> array">(
      m,
      [](nb::handle x, int axis, const random::OptionalKey& key, const StreamArg& s) {
        int64_t n = 0;
        if (const array* a = array_inside(x)) {
          return random::permutation(*a, axis, key, s);
        }
        if (!detail::read_integer(x.ptr(), n)) {
          fail<TypeError>(
              "[permutation] x of type ",
              nb::type_name(x.type()).c_str(),
              ", expected an integer or an array.");
        }
        return random::permutation(n, key, s);
      },
      R"(Integers, or the parts of an array, in random order.

      Args:
        x: How many integers, or an array of any dtype.
        axis: The axis along which the parts of an array lie.
        key: A key; None takes the next one of the default sequence.

      Returns:
        The integers 0 to x - 1, uint32 of shape (x,); or an array of the shape and dtype of `x`.

      Raises:
        IndexError: If the axis is out of range.
        TypeError: If `x` is neither an integer nor an array.
        ValueError: If `x` is negative.

      Example:
        >>> mx.random.permutation(5, key=mx.random.key(3))
        array([0, 1, 4, 3, 2], dtype=uint32)
      )");
}

void bind_random(nb::module_& parent) {
  nb::module_ m = parent.def_submodule(
      "random", "Random numbers from keys: the same key gives the same numbers.");
  bind_keys(m);
  bind_continuous(m);
  bind_multivariate(m);
  bind_discrete(m);
}

const Binding binding{&bind_random};

} // namespace
} // namespace narrows::python
