// The parameters of a kernel, read off its function type: buffers, constants and thread positions.
// For the CUDA and the host view.
//
// `uint i [[thread_position_in_grid]]` must tell C++ that i is no buffer. In these views the
// attribute names are macros (compat/keywords.h) which close the attribute and add an unnamed tag
// parameter:
//   uint i [[thread_position_in_grid]]  ->  uint i [[]], ::metal_emu::Builtin<...> [[]]
// So the function type contains all that a launch needs. Both forms are standard C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace metal_emu {

// Thread positions and sizes, in the order of the macros in compat/keywords.h.
enum class Position : int {
  thread_position_in_grid,
  thread_position_in_threadgroup,
  thread_index_in_threadgroup,
  threadgroup_position_in_grid,
  threads_per_grid,
  threads_per_threadgroup,
  threadgroups_per_grid,
  thread_index_in_simdgroup,
  simdgroup_index_in_threadgroup,
  simdgroups_per_threadgroup,
  threads_per_simdgroup,
};
inline constexpr int kPositions = 11;

template <Position kPosition>
struct PositionTag {};
template <int kIndex>
struct BufferTag {};

enum class Kind : int { tag, pointer, value, position };

template <typename T>
struct TagTraits {
  static constexpr bool kIsTag = false;
  static constexpr Kind kKind = Kind::pointer;
  static constexpr int kIndex = -1;
};
template <Position kPosition>
struct TagTraits<PositionTag<kPosition>> {
  static constexpr bool kIsTag = true;
  static constexpr Kind kKind = Kind::position;
  static constexpr int kIndex = int(kPosition);
};
template <int kBuffer>
struct TagTraits<BufferTag<kBuffer>> {
  static constexpr bool kIsTag = true;
  static constexpr Kind kKind = Kind::pointer;
  static constexpr int kIndex = kBuffer;
};

// The number of components of a position; specialised for vec<T, N> in compat/types.h.
template <typename T>
struct WidthOf {
  static constexpr int value = 1;
};

struct Parameter {
  Kind kind{};
  int index{};   // of the buffer, or the Position
  int slot{};    // among the pointers and values
  size_t size{}; // of what is pointed to or referred to
  bool written{};
};

// How CUDA passes a parameter: `constant T&` by value, `device T&` as a pointer.
template <typename P>
struct StorageOf {
  using type = P;
};
template <typename T>
struct StorageOf<const T&> {
  using type = T;
};
template <typename T>
struct StorageOf<T&> {
  using type = T*;
};

template <typename... P>
struct Signature {
  static constexpr size_t kCount = sizeof...(P);
  struct Table {
    Parameter at[kCount];
  };

  static constexpr Table make() {
    Table table{};
    const bool is_tag[] = {TagTraits<P>::kIsTag...};
    const Kind tag_kind[] = {TagTraits<P>::kKind...};
    const int tag_index[] = {TagTraits<P>::kIndex...};
    const bool is_value[] = {
        (std::is_lvalue_reference_v<P> && std::is_const_v<std::remove_reference_t<P>>)...};
    const bool is_written[] = {
        !std::is_const_v<std::remove_pointer_t<std::remove_reference_t<P>>>...};
    const size_t size[] = {sizeof(std::remove_pointer_t<std::remove_reference_t<P>>)...};
    int next_buffer = 0;
    int slot = 0;
    for (size_t i = 0; i < kCount; ++i) {
      Parameter& parameter = table.at[i];
      if (is_tag[i]) {
        parameter.kind = Kind::tag;
        continue;
      }
      parameter.size = size[i];
      const bool tagged = i + 1 < kCount && is_tag[i + 1];
      if (tagged && tag_kind[i + 1] == Kind::position) {
        parameter.kind = Kind::position;
        parameter.index = tag_index[i + 1];
        parameter.slot = -1;
        continue;
      }
      parameter.kind = is_value[i] ? Kind::value : Kind::pointer;
      parameter.index = tagged ? tag_index[i + 1] : next_buffer;
      parameter.slot = slot++;
      parameter.written = parameter.kind == Kind::pointer && is_written[i];
      next_buffer = parameter.index + 1;
    }
    return table;
  }
  static constexpr Table kTable = make();

  static constexpr size_t stored() {
    size_t count = 0;
    for (const Parameter& parameter : kTable.at) {
      count += parameter.kind == Kind::pointer || parameter.kind == Kind::value;
    }
    return count;
  }
  // The number of the parameter in this slot among all parameters of the function.
  static constexpr size_t place_of(size_t slot) {
    for (size_t i = 0; i < kCount; ++i) {
      const Kind kind = kTable.at[i].kind;
      if ((kind == Kind::pointer || kind == Kind::value) && kTable.at[i].slot == int(slot)) {
        return i;
      }
    }
    return kCount;
  }

  // Metal: positions and sizes in grid and threadgroup all have the same number of components.
  static constexpr bool same_dimensions() {
    const int widths[] = {WidthOf<P>::value...};
    int width = 0;
    for (size_t i = 0; i < kCount; ++i) {
      const Parameter& parameter = kTable.at[i];
      if (parameter.kind != Kind::position ||
          parameter.index == int(Position::thread_index_in_threadgroup) ||
          parameter.index >= int(Position::thread_index_in_simdgroup)) {
        continue;
      }
      if (width != 0 && widths[i] != width) {
        return false;
      }
      width = widths[i];
    }
    return true;
  }
  static constexpr bool well_formed() {
    const bool fits[] = {
        (TagTraits<P>::kIsTag || std::is_pointer_v<P> || std::is_lvalue_reference_v<P>)...};
    for (size_t i = 0; i < kCount; ++i) {
      if (!fits[i] && kTable.at[i].kind != Kind::position) {
        return false;
      }
    }
    return true;
  }
};

struct KernelInfo {
  std::string name;
  std::vector<Parameter> parameters; // pointers and values
  void* entry = nullptr;             // host: ThreadFunction; CUDA: the __global__ function's stub
};

inline std::map<std::string, KernelInfo, std::less<>>& registry() {
  static std::map<std::string, KernelInfo, std::less<>> kernels;
  return kernels;
}

template <typename... P>
std::vector<Parameter> parameters_of() {
  using S = Signature<P...>;
  static_assert(S::same_dimensions(), "positions of one kernel differ in their dimensions");
  static_assert(S::well_formed(), "a parameter is no pointer, reference or thread position");
  std::vector<Parameter> parameters;
  for (const Parameter& parameter : S::kTable.at) {
    if (parameter.kind == Kind::pointer || parameter.kind == Kind::value) {
      parameters.push_back(parameter);
    }
  }
  return parameters;
}

inline void add_kernel(const char* name, std::vector<Parameter> parameters, void* entry) {
  registry()[name] = KernelInfo{name, std::move(parameters), entry};
}

} // namespace metal_emu

#define METAL_EMU_JOIN_(a, b) a##b
#define METAL_EMU_JOIN(a, b) METAL_EMU_JOIN_(a, b)
