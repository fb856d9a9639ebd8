// Record: a primitive that lists its parameters once. From the list follow how they are printed,
// how files keep them, and which primitives are equal.
#pragma once

#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "narrows/record/primitive.h"

namespace narrows {

// A parameter: a member of the struct `Owner`. Files keep it as a `StoredType`.
template <typename Owner, typename T, typename StoredType>
struct Field {
  using Value = T;
  using Stored = StoredType;

  const char* name;
  T Owner::*member;
  bool is_printed;
};

namespace detail {

template <typename T>
struct StoredAs {
  using Type = T;
};
template <>
struct StoredAs<int> {
  using Type = int64_t;
};
template <typename T>
struct StoredAs<std::optional<T>> : StoredAs<T> {};

// The type that a member is kept as: `Chosen`, or one that follows from its own type.
template <typename Chosen, typename T>
using Stored = std::conditional_t<std::is_void_v<Chosen>, typename StoredAs<T>::Type, Chosen>;

template <typename Stored, typename T>
Stored stored(const T& value) {
  if constexpr (std::is_class_v<T> && !std::is_same_v<Stored, T>) {
    return Stored(value.begin(), value.end());
  } else {
    return static_cast<Stored>(value);
  }
}

template <typename Fields, typename Owner, typename T, typename Stored>
void add_attribute(
    Attributes& attributes, const Fields& fields, const Field<Owner, T, Stored>& field) {
  attributes.emplace_back(field.name, stored<Stored>(fields.*field.member), field.is_printed);
}
// A parameter without a value is left out.
template <typename Fields, typename Owner, typename T, typename Stored>
void add_attribute(
    Attributes& attributes,
    const Fields& fields,
    const Field<Owner, std::optional<T>, Stored>& field) {
  if (const std::optional<T>& value = fields.*field.member) {
    attributes.emplace_back(field.name, stored<Stored>(*value), field.is_printed);
  }
}

// Whether two parameters are the same: numbers bit by bit, so that NaN is the same as itself.
template <typename T>
bool is_same(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
  } else if constexpr (std::is_same_v<T, Scalar>) {
    return a.dtype == b.dtype &&
           std::memcmp(a.bytes, b.bytes, static_cast<size_t>(size_of(a.dtype))) == 0;
  } else {
    return a == b;
  }
}
template <typename T>
bool is_same(const std::optional<T>& a, const std::optional<T>& b) {
  return a.has_value() == b.has_value() && (!a || is_same(*a, *b));
}

} // namespace detail

// field<Shape>("axes", &F::axes_) is kept as a Shape. Without a type, a member is kept as its own.
template <typename Chosen = void, typename Owner, typename T>
constexpr auto field(const char* name, T Owner::*member) {
  return Field<Owner, T, detail::Stored<Chosen, T>>{name, member, true};
}

// A field that plans do not print: it is needed only to compute the operation again.
template <typename Chosen = void, typename Owner, typename T>
constexpr auto hidden_field(const char* name, T Owner::*member) {
  return Field<Owner, T, detail::Stored<Chosen, T>>{name, member, false};
}

struct NoFields {
  static constexpr std::tuple<> fields{};
};

// What all records are: primitives without anything but their parameters.
struct AnyRecord {};

// A primitive whose parameters are the members of the struct `Fields`. Its static tuple `fields`
// lists them. Members that are not listed follow from the primitive's name. The constructor takes
// values for all members, in their order.
template <typename Fields = NoFields, typename Base = Primitive>
class Record : public Base, public AnyRecord, protected Fields {
 public:
  template <typename... Values>
  explicit Record(Values&&... values) : Fields{std::forward<Values>(values)...} {
  }

  Attributes attributes() const final {
    Attributes result;
    std::apply(
        [&](const auto&... listed) {
          (detail::add_attribute(result, static_cast<const Fields&>(*this), listed), ...);
        },
        Fields::fields);
    return result;
  }
  bool equals(const Primitive& other) const final {
    if (typeid(*this) != typeid(other) || std::strcmp(this->name(), other.name()) != 0) {
      return false;
    }
    const Fields& theirs = static_cast<const Record&>(other);
    return std::apply(
        [&](const auto&... listed) {
          return (detail::is_same(this->*listed.member, theirs.*listed.member) && ...);
        },
        Fields::fields);
  }
  size_t hash() const final {
    return std::hash<std::string>()(this->name() + bytes_of(attributes()));
  }
};

} // namespace narrows
