// Interprets fused programs. Every step runs on a few elements of each thread before the next step.
// Nothing is kept of a row: what is needed in several passes over it is computed in each of them.
#include "common.h"

#include "arange_element.h"
#include "program.h"
#include "sum_result.h"

enum class ProgramOp {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) name,
#include "elementwise.def"
#undef ELEMENTWISE
};
enum class ProgramReduceOp { sum, prod, min, max, all, any };

// The number of the Dtype of a type.
template <typename T>
struct NumberOf;
#define NARROWS_NUMBER(T, number) \
  template <>                     \
  struct NumberOf<T> {            \
    enum { value = number };      \
  };
NARROWS_NUMBER(bool, 0)
NARROWS_NUMBER(uint8_t, 1)
NARROWS_NUMBER(uint16_t, 2)
NARROWS_NUMBER(uint32_t, 3)
NARROWS_NUMBER(uint64_t, 4)
NARROWS_NUMBER(int8_t, 5)
NARROWS_NUMBER(int16_t, 6)
NARROWS_NUMBER(int32_t, 7)
NARROWS_NUMBER(int64_t, 8)
NARROWS_NUMBER(half, 9)
NARROWS_NUMBER(bfloat, 10)
NARROWS_NUMBER(float, 11)
#if METAL_HAS_FLOAT64
NARROWS_NUMBER(double, 12)
#endif
NARROWS_NUMBER(complex64_t, 13)
#undef NARROWS_NUMBER

// What selects the code of a step.
METAL_FUNC constexpr int code_of(int op, int type) {
  return op * 16 + type;
}

// A value of any type. 16-bit floats are kept as float32, rounded.
struct alignas(8) Word {
  uint8_t bytes[8];
};

// The registers of a thread: of some elements each, then those of rows.
struct Registers {
  Word words
      [NARROWS_PROGRAM_ELEMENT_REGISTERS * NARROWS_PROGRAM_ELEMENTS +
       NARROWS_PROGRAM_ROW_REGISTERS];

  static METAL_FUNC int place(int index, int element) {
    const int of_row = index - NARROWS_PROGRAM_ELEMENT_REGISTERS;
    return of_row < 0 ? index * NARROWS_PROGRAM_ELEMENTS + element
                      : NARROWS_PROGRAM_ELEMENT_REGISTERS * NARROWS_PROGRAM_ELEMENTS + of_row;
  }
};
template <typename T>
METAL_FUNC T get(thread const Registers& registers, int index, int element) {
  return *(thread const T*)(registers.words + Registers::place(index, element));
}
template <typename T>
METAL_FUNC void set(thread Registers& registers, int index, int element, T value) {
  *(thread T*)(registers.words + Registers::place(index, element)) = value;
}

// Where a thread is.
struct ProgramPlace {
  int64_t begin; // of the threadgroup's elements
  int64_t end;   // of the row
  int first;     // of the thread's elements, the number of the first in this round
  int count;     // of elements in this round; 1 for steps of rows
  int pack_shift;
  uint thread_number;
  uint threads;
  int64_t rows[NARROWS_PROGRAM_OPERANDS]; // the offsets of the row
};
METAL_FUNC int64_t element_of(thread const ProgramPlace& place, int j) {
  const int number = place.first + j;
  const int64_t pack =
      int64_t(number >> place.pack_shift) * place.threads + int64_t(place.thread_number);
  return place.begin + (pack << place.pack_shift) + (number & ((1 << place.pack_shift) - 1));
}
METAL_FUNC bool has_element(thread const ProgramPlace& place, int j) {
  return element_of(place, j) < place.end;
}
METAL_FUNC int64_t dims_offset(
    int64_t index, int64_t size, int ndim, constant int64_t* shape, constant int64_t* strides) {
  if (ndim <= 1) {
    return ndim == 1 ? index * strides[0] : 0;
  }
  if (size <= 0x7fffffff) {
    return offset_of(uint(index), ndim, shape, strides);
  }
  return offset_of(uint64_t(index), ndim, shape, strides);
}
METAL_FUNC int64_t
offset_in(constant ProgramParams& p, thread const ProgramPlace& place, int operand, int j) {
  const int at = p.row_ndim;
  // Elements behind the end are computed as the last one is, and not stored.
  const int64_t element = element_of(place, j);
  return place.rows[operand] + dims_offset(
                                   element < place.end ? element : place.end - 1,
                                   p.length,
                                   p.ndim - at,
                                   p.shape + at,
                                   p.strides[operand] + at);
}

// Memory.

template <typename T>
METAL_FUNC void load(
    device const uint8_t* memory,
    constant ProgramParams& p,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread Registers& registers) {
  METAL_ROLLED
  for (int j = 0; j < place.count; ++j) {
    const T x = ((device const T*)memory)[offset_in(p, place, s.op, j)];
    set<Compute<T>>(registers, s.out, j, Compute<T>(x));
  }
}
template <typename T>
METAL_FUNC void load_sequence(
    constant ProgramParams& p,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread Registers& registers) {
  METAL_ROLLED
  for (int j = 0; j < place.count; ++j) {
    const T x = arange_element<T>(p.sequences[s.op], offset_in(p, place, s.op, j));
    set<Compute<T>>(registers, s.out, j, Compute<T>(x));
  }
}
template <typename T>
METAL_FUNC void store(
    device uint8_t* memory,
    constant ProgramParams& p,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread const Registers& registers) {
  METAL_ROLLED
  for (int j = 0; j < place.count; ++j) {
    if (has_element(place, j)) {
      ((device T*)memory)[offset_in(p, place, s.op, j)] = T(get<Compute<T>>(registers, s.in[0], j));
    }
  }
}

// Values.

// 16-bit floats are computed in float32, by the code for float32.
template <typename T>
METAL_FUNC constexpr bool is_computed() {
  return metal::is_same_v<T, Compute<T>>;
}

template <typename T, typename R, typename Op>
METAL_FUNC void unary(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  if constexpr (is_computed<T>()) {
    METAL_ROLLED
    for (int j = 0; j < place.count; ++j) {
      set<R>(registers, s.out, j, R(Op()(get<T>(registers, s.in[0], j))));
    }
  }
}
template <typename T, typename R, typename Op>
METAL_FUNC void binary(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  if constexpr (is_computed<T>()) {
    METAL_ROLLED
    for (int j = 0; j < place.count; ++j) {
      const T a = get<T>(registers, s.in[0], j);
      set<R>(registers, s.out, j, R(Op()(a, get<T>(registers, s.in[1], j))));
    }
  }
}
template <typename T, typename R>
METAL_FUNC void convert(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  if constexpr (is_computed<T>() && is_computed<R>()) {
    METAL_ROLLED
    for (int j = 0; j < place.count; ++j) {
      set<R>(registers, s.out, j, Convert<R>()(get<T>(registers, s.in[0], j)));
    }
  }
}
METAL_FUNC void select(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  METAL_ROLLED
  for (int j = 0; j < place.count; ++j) {
    const int choice = get<bool>(registers, s.in[0], j) ? s.in[1] : s.in[2];
    registers.words[Registers::place(s.out, j)] = registers.words[Registers::place(choice, j)];
  }
}
template <typename T>
METAL_FUNC void round_to(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  METAL_ROLLED
  for (int j = 0; j < place.count; ++j) {
    set<float>(registers, s.out, j, float(T(get<float>(registers, s.out, j))));
  }
}

// Reductions. The result's register holds what was combined so far.

// A pass over a row: values of the row, runs of its elements, and what the threads found together.
enum class ProgramPhase { row, elements, together };

// The threads of a group, for what they combine.
struct ProgramGroup {
  threadgroup Word* shared;
  uint lane;
  uint simdgroup;
  uint simdgroups;
};

template <typename T, typename R, typename Op>
METAL_FUNC void reduce(
    ProgramPhase phase,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread const ProgramGroup& group,
    thread Registers& registers) {
  using Value = typename Op::Value;
  if constexpr (is_computed<T>()) {
    if (phase == ProgramPhase::row) {
      set<Value>(registers, s.out, 0, Op::identity());
      return;
    }
    Value value = get<Value>(registers, s.out, 0);
    if (phase == ProgramPhase::elements) {
      METAL_ROLLED
      for (int j = 0; j < place.count; ++j) {
        if (has_element(place, j)) {
          value = Op::combine(value, Op::of(get<T>(registers, s.in[0], j)));
        }
      }
      set<Value>(registers, s.out, 0, value);
      return;
    }
    value = combine_all_threads<Op>(
        value, (threadgroup Value*)group.shared, group.lane, group.simdgroup, group.simdgroups);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    set<R>(registers, s.out, 0, R(value));
  }
}

METAL_FUNC void run_reduce(
    ProgramPhase phase,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread const ProgramGroup& group,
    thread Registers& registers) {
  switch (code_of(s.op, s.type)) {
#define NARROWS_CASE(op, T, R, Op)                                   \
  case code_of(int(ProgramReduceOp::op), int(NumberOf<T>::value)):   \
    reduce<T, R, Op<Compute<T>>>(phase, s, place, group, registers); \
    break;
#define NARROWS_CASES(T, tname, unused)                   \
  NARROWS_CASE(sum, T, SumResult<Compute<T>>, SumOf)      \
  NARROWS_CASE(prod, T, SumResult<Compute<T>>, ProductOf) \
  NARROWS_CASE(min, T, Compute<T>, MinimumOf)             \
  NARROWS_CASE(max, T, Compute<T>, MaximumOf)             \
  NARROWS_CASE(all, T, bool, AllOf)                       \
  NARROWS_CASE(any, T, bool, AnyOf)
    NARROWS_TYPES_any(NARROWS_CASES, unused)
#undef NARROWS_CASES
#undef NARROWS_CASE
  }
}

METAL_FUNC void run_elementwise(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  switch (code_of(s.op, s.type)) {
#define NARROWS_CASE(T, tname, op, functor, result, function)                \
  case code_of(int(ProgramOp::op), int(NumberOf<T>::value)):                 \
    function<T, ResultOf<Compute<T>>::result, functor>(s, place, registers); \
    break;
#define NARROWS_ROW_1(op, functor, result, kernels) \
  NARROWS_TYPES_##kernels(NARROWS_CASE, op, functor, result, unary)
#define NARROWS_ROW_2(op, functor, result, kernels) \
  NARROWS_TYPES_##kernels(NARROWS_CASE, op, functor, result, binary)
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_ROW_##arity(name, functor, result, kernels)
#include "elementwise.def"
#undef ELEMENTWISE
#undef NARROWS_ROW_1
#undef NARROWS_ROW_2
#undef NARROWS_CASE
  }
}

METAL_FUNC void run_cast(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
#define NARROWS_CASE(R, rname, T)                                 \
  case code_of(int(NumberOf<T>::value), int(NumberOf<R>::value)): \
    convert<T, R>(s, place, registers);                           \
    break;
#if METAL_HAS_FLOAT64
#define NARROWS_CASE_FLOAT64(T) NARROWS_CASE(double, "float64", T)
#else
#define NARROWS_CASE_FLOAT64(T)
#endif
#define NARROWS_CASES(T, tname, unused) \
  NARROWS_CASE(bool, "", T)             \
  NARROWS_CASE(uint8_t, "", T)          \
  NARROWS_CASE(uint16_t, "", T)         \
  NARROWS_CASE(uint32_t, "", T)         \
  NARROWS_CASE(uint64_t, "", T)         \
  NARROWS_CASE(int8_t, "", T)           \
  NARROWS_CASE(int16_t, "", T)          \
  NARROWS_CASE(int32_t, "", T)          \
  NARROWS_CASE(int64_t, "", T)          \
  NARROWS_CASE(float, "", T)            \
  NARROWS_CASE_FLOAT64(T)               \
  NARROWS_CASE(complex64_t, "", T)
  const bool is_half = s.to == NumberOf<half>::value || s.to == NumberOf<bfloat>::value;
  switch (code_of(s.type, is_half ? int(NumberOf<float>::value) : int(s.to))) {
    NARROWS_TYPES_any(NARROWS_CASES, unused)
  }
#undef NARROWS_CASES
#undef NARROWS_CASE
}

METAL_FUNC void round_result(
    constant ProgramStep& s, thread const ProgramPlace& place, thread Registers& registers) {
  if (s.to == NumberOf<half>::value) {
    round_to<half>(s, place, registers);
  } else if (s.to == NumberOf<bfloat>::value) {
    round_to<bfloat>(s, place, registers);
  }
}

METAL_FUNC void run_load(
    device const uint8_t* memory,
    constant ProgramParams& p,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread Registers& registers) {
  if (s.action == ProgramAction::number) {
    const int at = Registers::place(s.out, 0);
    *(thread uint64_t*)(registers.words + at) = p.numbers[s.op];
    return;
  }
  const bool in_memory = s.action == ProgramAction::load;
  switch (int(s.to)) {
#define NARROWS_CASE(T, tname, unused)          \
  case NumberOf<T>::value:                      \
    if (in_memory) {                            \
      load<T>(memory, p, s, place, registers);  \
    } else {                                    \
      load_sequence<T>(p, s, place, registers); \
    }                                           \
    break;
    NARROWS_TYPES_any(NARROWS_CASE, unused)
#undef NARROWS_CASE
  }
}

METAL_FUNC void run_store(
    device uint8_t* memory,
    constant ProgramParams& p,
    constant ProgramStep& s,
    thread const ProgramPlace& place,
    thread const Registers& registers) {
  switch (int(s.type)) {
#define NARROWS_CASE(T, tname, unused)        \
  case NumberOf<T>::value:                    \
    store<T>(memory, p, s, place, registers); \
    break;
    NARROWS_TYPES_any(NARROWS_CASE, unused)
#undef NARROWS_CASE
  }
}

kernel void program(
    device const uint8_t* in0 [[buffer(0)]],
    device const uint8_t* in1 [[buffer(1)]],
    device const uint8_t* in2 [[buffer(2)]],
    device const uint8_t* in3 [[buffer(3)]],
    device const uint8_t* in4 [[buffer(4)]],
    device const uint8_t* in5 [[buffer(5)]],
    device const uint8_t* in6 [[buffer(6)]],
    device const uint8_t* in7 [[buffer(7)]],
    device const uint8_t* in8 [[buffer(8)]],
    device const uint8_t* in9 [[buffer(9)]],
    device const uint8_t* in10 [[buffer(10)]],
    device const uint8_t* in11 [[buffer(11)]],
    device uint8_t* out0 [[buffer(12)]],
    device uint8_t* out1 [[buffer(13)]],
    device uint8_t* out2 [[buffer(14)]],
    device uint8_t* out3 [[buffer(15)]],
    constant ProgramParams& p [[buffer(16)]],
    uint group [[threadgroup_position_in_grid]],
    uint groups [[threadgroups_per_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  THREADGROUP_ARRAY(Word, shared, [32]);
  device const uint8_t* inputs[NARROWS_PROGRAM_INPUTS] = {
      in0, in1, in2, in3, in4, in5, in6, in7, in8, in9, in10, in11};
  device uint8_t* outputs[NARROWS_PROGRAM_OUTPUTS] = {out0, out1, out2, out3};
  const ProgramGroup all{shared, lane, simdgroup, simdgroups};
  Registers registers;
  ProgramPlace place;
  place.pack_shift = p.pack_shift;
  place.threads = threads;
  for (int64_t row = p.is_split ? 0 : int64_t(group); row < p.rows;
       row += p.is_split ? p.rows : int64_t(groups)) {
    for (int k = 0; k < NARROWS_PROGRAM_OPERANDS; ++k) {
      place.rows[k] = dims_offset(row, p.rows, p.row_ndim, p.shape, p.strides[k]);
    }
    METAL_ROLLED
    for (int pass = 0; pass <= p.passes; ++pass) {
      if (pass == p.passes) {
        // The row's results may lie where its threads have read.
        threadgroup_barrier(mem_flags::mem_device);
      }
      // Before and behind the runs of elements there is a round of its own. All rounds run steps in
      // one place, because the code for a step is long.
      const int rounds = pass == p.passes ? 1 : p.rounds + 2;
      METAL_ROLLED
      for (int round = 0; round < rounds; ++round) {
        const ProgramPhase phase = round == 0            ? ProgramPhase::row
                                   : round + 1 == rounds ? ProgramPhase::together
                                                         : ProgramPhase::elements;
        const bool has_elements = phase == ProgramPhase::elements;
        place.begin =
            has_elements && p.is_split ? int64_t(group) * threads * NARROWS_PROGRAM_ELEMENTS : 0;
        place.end = has_elements ? p.length : 1;
        place.first = has_elements ? (round - 1) * NARROWS_PROGRAM_ELEMENTS : 0;
        place.count = has_elements ? NARROWS_PROGRAM_ELEMENTS : 1;
        place.thread_number = has_elements ? lid : 0;
        METAL_ROLLED
        for (int i = 0; i < p.steps; ++i) {
          constant ProgramStep& s = p.list[i];
          const bool is_reduce = s.action == ProgramAction::reduce;
          const bool has_place = (s.of_row != 0) == (phase == ProgramPhase::row);
          const bool runs = is_reduce || (has_place && phase != ProgramPhase::together);
          if ((s.passes >> pass & 1u) == 0 || !runs) {
            continue;
          }
          if (s.action <= ProgramAction::sequence) {
            run_load(inputs[s.op], p, s, place, registers);
          } else if (s.action == ProgramAction::store) {
            if (has_elements || lid == 0) {
              run_store(outputs[s.op - NARROWS_PROGRAM_INPUTS], p, s, place, registers);
            }
          } else {
            if (is_reduce) {
              run_reduce(phase, s, place, all, registers);
            } else if (s.action == ProgramAction::select) {
              select(s, place, registers);
            } else if (s.action == ProgramAction::cast) {
              run_cast(s, place, registers);
            } else {
              run_elementwise(s, place, registers);
            }
            if (!is_reduce || phase == ProgramPhase::together) {
              round_result(s, place, registers);
            }
          }
        }
      }
    }
  }
}
REGISTER_KERNEL(program)
