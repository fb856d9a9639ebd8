#include "narrows/ops/random.h"

#include <nanobind/stl/optional.h>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

using OptionalDtype = std::optional<Dtype>;

// The keys that are used where none is given, as a list of one array that evaluation finds.
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

bool is_number(nb::handle object, double value) {
  PyObject* p = object.ptr();
  return !PyBool_Check(p) && ((PyLong_Check(p) && nb::cast<double>(object) == value) ||
                              (PyFloat_Check(p) && PyFloat_AS_DOUBLE(p) == value));
}

array make_uniform(
    ScalarOrArray low,
    ScalarOrArray high,
    const Shape& shape,
    OptionalDtype wanted,
    const random::OptionalKey& key,
    const StreamArg& s) {
  const Dtype dtype = wanted.value_or(float32);
  if (is_number(low.object, 0) && is_number(high.object, 1)) {
    return random::uniform(shape, dtype, key, s);
  }
  return random::uniform(
      to_operand_beside("uniform", low.object, dtype),
      to_operand_beside("uniform", high.object, dtype),
      shape,
      dtype,
      key,
      s);
}

void bind_keys(nb::module_& m) {
  nb::class_<RandomState>(m, "_RandomState", "A list of one key, from which all others follow.")
      .def("__len__", [](const RandomState&) { return 1; })
      .def("__getitem__", &state_item)
      .def("__setitem__", &set_state_item)
      .def("__iter__", [](const RandomState& self) { return nb::iter(state_list(self)); })
      .def("__narrows_arrays__", &state_list);
  m.attr("state") = RandomState{};
  m.def(
      "seed",
      [](uint64_t seed) { random::seed(seed); },
      "seed"_a,
      "Starts the sequence of keys that are used where none is given anew.");
  m.def("key", &random::key, "seed"_a, "A key: shape (2,), dtype uint32.");
  m.def(
      "split",
      [](const array& key, int64_t num, const StreamArg& s) { return random::split(key, num, s); },
      "key"_a,
      "num"_a = 2,
      "stream"_a = nb::none(),
      "Shape (num, 2): independent keys made of one.");
}

void bind_continuous(nb::module_& m) {
  m.def(
      "uniform",
      &make_uniform,
      "low"_a = 0,
      "high"_a = 1,
      "shape"_a = nb::make_tuple(),
      "dtype"_a.none() = float32,
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Uniform numbers of [low, high), which broadcast to `shape`. ValueError unless `dtype` is "
      "floating point.");
  m.def(
      "normal",
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
      "shape"_a = nb::make_tuple(),
      "dtype"_a.none() = float32,
      "loc"_a.none() = nb::none(),
      "scale"_a.none() = nb::none(),
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig(
          "def normal(shape: collections.abc.Sequence[int] = (), dtype: Dtype | None = float32, "
          "loc: bool | int | float | complex | array | ArrayLike | None = None, scale: bool | int "
          "| float | complex | array | ArrayLike | None = None, key: array | None = None, stream: "
          "Stream | ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "Normal numbers of mean `loc` and standard deviation `scale`, which broadcast to `shape`. "
      "ValueError unless `dtype` is floating point or complex64.");
  m.def(
      "truncated_normal",
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
      "lower"_a,
      "upper"_a,
      "shape"_a = nb::none(),
      "dtype"_a.none() = float32,
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Standard normal numbers of [lower, upper], which broadcast to `shape`.");
  m.def(
      "gumbel",
      [](const Shape& shape,
         OptionalDtype dtype,
         const random::OptionalKey& key,
         const StreamArg& s) { return random::gumbel(shape, dtype.value_or(float32), key, s); },
      "shape"_a = nb::make_tuple(),
      "dtype"_a.none() = float32,
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Numbers of the standard Gumbel distribution.");
  m.def(
      "laplace",
      [](const Shape& shape,
         OptionalDtype dtype,
         double loc,
         double scale,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::laplace(shape, dtype.value_or(float32), loc, scale, key, s);
      },
      "shape"_a = nb::make_tuple(),
      "dtype"_a.none() = float32,
      "loc"_a = 0.0,
      "scale"_a = 1.0,
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Numbers of the Laplace distribution of mean `loc` and scale `scale`.");
}

void bind_discrete(nb::module_& m) {
  m.def(
      "randint",
      [](ScalarOrArray low,
         ScalarOrArray high,
         const Shape& shape,
         OptionalDtype dtype,
         const random::OptionalKey& key,
         const StreamArg& s) {
        const auto [from, to] = to_operands("randint", low.object, high.object);
        return random::randint(from, to, shape, dtype.value_or(int32), key, s);
      },
      "low"_a,
      "high"_a,
      "shape"_a = nb::make_tuple(),
      "dtype"_a.none() = int32,
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Integers of [low, high), which broadcast to `shape`. ValueError unless `dtype` is an "
      "integer type or bool.");
  m.def(
      "bernoulli",
      [](ScalarOrArray p,
         const std::optional<Shape>& shape,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::bernoulli(to_operand("bernoulli", p.object), shape, key, s);
      },
      "p"_a = 0.5,
      "shape"_a = nb::none(),
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "bool, true with probability `p`, which broadcasts to `shape`.");
  m.def(
      "categorical",
      [](const array& logits,
         int axis,
         const std::optional<Shape>& shape,
         std::optional<int64_t> num_samples,
         const random::OptionalKey& key,
         const StreamArg& s) {
        return random::categorical(logits, axis, shape, num_samples, key, s);
      },
      "logits"_a,
      "axis"_a = -1,
      "shape"_a = nb::none(),
      "num_samples"_a = nb::none(),
      "key"_a = nb::none(),
      "stream"_a = nb::none(),
      "Indices (uint32) along `axis`, drawn with the probabilities softmax(logits, axis): one for "
      "each other position, `num_samples` for each as a last dimension, or an array of `shape`. "
      "ValueError if both are given.");
}

void bind_random(nb::module_& parent) {
  nb::module_ m = parent.def_submodule(
      "random", "Random numbers from keys: the same key gives the same numbers.");
  bind_keys(m);
  bind_continuous(m);
  bind_discrete(m);
}

const Binding binding{&bind_random};

} // namespace
} // namespace narrows::python
