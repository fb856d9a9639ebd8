#include "narrows/backend/gpu/program_text.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "narrows/backend/gpu/program_schedule.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

using Access = ProgramLayout::Access;
using Action = Program::Action;
using Instruction = Program::Instruction;
using Source = Program::Source;

constexpr const char* kFunctors[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) #functor,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};
// In the order of ReduceOp.
constexpr const char* kReductions[] = {
    "SumOf", "ProductOf", "MinimumOf", "MaximumOf", "AllOf", "AnyOf"};

// The type of elements in memory, and that of the values that kernels compute with.
std::string type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_:
      return "bool";
    case Dtype::float16:
      return "half";
    case Dtype::bfloat16:
      return "bfloat";
    case Dtype::float32:
      return "float";
    case Dtype::float64:
      return "double";
    default:
      return std::string(name_of(dtype)) + "_t";
  }
}
std::string compute_type_of(Dtype dtype) {
  return is_half(dtype) ? "float" : type_of(dtype);
}

template <typename... Parts>
std::string concat(const Parts&... parts) {
  return concat_message(parts...);
}

class Writer {
 public:
  Writer(const Program& program, const ProgramLayout& layout, Dialect dialect)
      : program_(program),
        schedule_(program),
        layout_(layout),
        dialect_(dialect),
        words_(program, layout),
        made_(program.value_count(), false),
        is_array_(program.value_count(), false),
        strides_(program.operands.size() + program.outputs.size()) {
    size_t at = words_.strides;
    for (size_t k = 0; k < strides_.size(); ++k) {
      const bool is_constant =
          k < program.operands.size() && program.operands[k].source == Source::constant;
      strides_[k] = at;
      at += is_constant ? 0 : layout.ndim;
    }
  }

  std::string run() {
    head();
    if (schedule_.is_split) {
      line("const Index unit = Index(group) * threads + lid;");
      line("if (unit >= Index(p.words[0])) {");
      line("  return;");
      line("}");
      index("unit", 0, layout_.ndim);
      pass(0);
    } else {
      index("Index(group)", 0, layout_.row_ndim);
      if (layout_.is_resident) {
        line("const bool present = Index(lid) < Index(p.words[0]);");
        line("const Index unit = present ? lid : 0;");
        index("unit", layout_.row_ndim, layout_.ndim);
      }
      for (uint32_t i = 0; i < schedule_.passes; ++i) {
        pass(i);
      }
      rows(schedule_.passes);
      store_rows();
    }
    line("}");
    return text_;
  }

 private:
  void line(const std::string& text) {
    text_ += text;
    text_ += '\n';
  }

  // Parameters and their names.
  void head() {
    line("#include \"common.h\"");
    line("#include \"arange_element.h\"");
    line("#include \"sum_result.h\"");
    line(layout_.is_wide ? "typedef int64_t Index;" : "typedef uint Index;");
    line(concat("constant constexpr int N = ", int{layout_.pack}, ";"));
    line("struct Parameters {");
    line(concat("  int64_t words[", words_.all, "];"));
    if (words_.sequences > 0) {
      line(concat("  ArangeParams sequences[", words_.sequences, "];"));
    }
    line("};");
    const bool is_cuda = dialect_ == Dialect::cuda;
    if (is_cuda) {
      const int64_t threads = schedule_.is_split ? kThreads : kMostRowThreads;
      line(concat(
          "extern \"C\" __global__ void __launch_bounds__(", threads, ") ", kTextKernel, "("));
    } else {
      line(concat("kernel void ", kTextKernel, "("));
    }
    size_t buffer = 0;
    const auto place = [&] { return is_cuda ? "" : concat(" [[buffer(", buffer++, ")]]"); };
    for (size_t k = 0; k < program_.operands.size(); ++k) {
      if (program_.operands[k].source == Source::memory) {
        const std::string type = type_of(program_.operands[k].dtype);
        line(concat("    device const ", type, "* m", k, place(), ","));
      }
    }
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      const std::string type = type_of(program_.dtype_of(program_.outputs[i]));
      line(concat("    device ", type, "* m", program_.operands.size() + i, place(), ","));
    }
    if (is_cuda) {
      line("    const __grid_constant__ Parameters p) {");
      line("  const uint group = blockIdx.x;");
      line("  const uint lid = threadIdx.x;");
      line("  const uint threads = blockDim.x;");
      line("  const uint lane = lid % 32;");
      line("  const uint simdgroup = lid / 32;");
      line("  const uint simdgroups = threads / 32;");
      return;
    }
    line(concat("    constant Parameters& p", place(), ","));
    if (schedule_.is_split || layout_.row_ndim > 0) {
      line("    uint group [[threadgroup_position_in_grid]],");
    }
    if (!layout_.is_resident) {
      line("    uint threads [[threads_per_threadgroup]],");
    }
    if (has_reductions()) {
      line("    uint lane [[thread_index_in_simdgroup]],");
      line("    uint simdgroup [[simdgroup_index_in_threadgroup]],");
      line("    uint simdgroups [[simdgroups_per_threadgroup]],");
    }
    line("    uint lid [[thread_position_in_threadgroup]]) {");
  }

  // The indices i0, i1, ... of an element along dimensions, the last of them in packs.
  void index(const std::string& number, int first, int last) {
    std::string rest = number;
    for (int d = last - 1; d > first; --d) {
      const size_t size = words_.shape + static_cast<size_t>(d);
      line(concat("const Index q", d, " = (", rest, ") / Index(p.words[", size, "]);"));
      line(concat("const Index i", d, " = (", rest, ") - q", d, " * Index(p.words[", size, "]);"));
      rest = concat("q", d);
    }
    if (first < last) {
      line(concat("const Index i", first, " = ", rest, ";"));
    }
  }

  std::string stride(size_t k, int d) const {
    return concat("p.words[", strides_[k] + static_cast<size_t>(d), "]");
  }

  // The offset of the first element of a pack, or of a row's value.
  std::string offset(size_t k, bool of_row) const {
    std::string text = "0";
    const int last = of_row ? layout_.row_ndim : layout_.ndim;
    for (int d = 0; d < last; ++d) {
      const bool in_packs = d == layout_.ndim - 1 && layout_.ndim > layout_.row_ndim;
      text += concat(" + int64_t(i", d, ")", in_packs ? " * N" : "", " * ", stride(k, d));
    }
    return text;
  }

  std::string each() const {
    return "METAL_UNROLL for (int k = 0; k < N; ++k) ";
  }

  std::string name(size_t v) const {
    const uint16_t source = schedule_.values[v].source;
    return concat("v", source, is_array_[source] ? "[k]" : "");
  }

  void load(size_t v) {
    const Program::Value& operand = program_.operands[v];
    const std::string type = compute_type_of(operand.dtype);
    const ProgramSchedule::Value& value = schedule_.values[v];
    if (operand.source == Source::constant) {
      line(concat(
          "const ", type, " v", v, " = *(constant ", type, "*)(p.words + ", number(v), ");"));
      return;
    }
    line(concat("const int64_t at", v, " = ", offset(v, value.of_row), ";"));
    const std::string sequence = concat(
        type,
        "(arange_element<",
        type_of(operand.dtype),
        ">(p.sequences[",
        sequence_number(v),
        "], ");
    const bool in_memory = operand.source == Source::memory;
    const auto element = [&](const std::string& at) {
      return in_memory ? concat(type, "(m", v, "[", at, "])") : concat(sequence, at, "))");
    };
    if (value.of_row || layout_.access[v] == Access::repeated) {
      line(concat("const ", type, " v", v, " = ", element(concat("at", v)), ";"));
      return;
    }
    is_array_[v] = true;
    line(concat(type, " v", v, "[N];"));
    if (in_memory && layout_.access[v] == Access::packed) {
      const std::string pack = concat("Pack<", type_of(operand.dtype), ", N>");
      line(
          concat("const ", pack, " x", v, " = *(device const ", pack, "*)(m", v, " + at", v, ");"));
      line(concat(each(), "v", v, "[k] = ", type, "(x", v, ".values[k]);"));
    } else {
      const std::string along = concat("at", v, " + k * ", stride(v, layout_.ndim - 1));
      line(concat(each(), "v", v, "[k] = ", element(along), ";"));
    }
  }

  size_t number(size_t v) const {
    return words_.numbers + count_before(v, Source::constant);
  }
  size_t sequence_number(size_t v) const {
    return count_before(v, Source::sequence);
  }
  size_t count_before(size_t v, Source source) const {
    return static_cast<size_t>(std::count_if(
        program_.operands.begin(),
        program_.operands.begin() + static_cast<int64_t>(v),
        [&](const Program::Value& value) { return value.source == source; }));
  }

  // The value of an instruction as an expression of its inputs.
  std::string expression(const Instruction& instruction) const {
    const auto in = [&](int i) { return name(instruction.inputs[i]); };
    const std::string type = compute_type_of(instruction.out);
    std::string text;
    switch (instruction.action) {
      case Action::cast:
        text = concat("Convert<", type, ">()(", in(0), ")");
        break;
      case Action::select:
        text = concat(in(0), " ? ", in(1), " : ", in(2));
        break;
      default:
        text = concat(kFunctors[instruction.op], "()(", in(0));
        for (int i = 1; i < instruction.input_count; ++i) {
          text += concat(", ", in(i));
        }
        text = concat(type, "(", text, "))");
    }
    return rounded(text, instruction.out);
  }
  static std::string rounded(const std::string& text, Dtype dtype) {
    return is_half(dtype) ? concat("float(", type_of(dtype), "(", text, "))") : text;
  }

  void make(size_t i) {
    const Instruction& instruction = program_.instructions[i];
    const size_t v = program_.operands.size() + i;
    need_inputs(instruction);
    const std::string type = compute_type_of(instruction.out);
    is_array_[v] = std::any_of(
        instruction.inputs, instruction.inputs + instruction.input_count, [&](uint16_t input) {
          return is_array_[schedule_.values[input].source];
        });
    if (is_array_[v]) {
      line(concat(type, " v", v, "[N];"));
      line(concat(each(), "v", v, "[k] = ", expression(instruction), ";"));
    } else {
      line(concat("const ", type, " v", v, " = ", expression(instruction), ";"));
    }
    made_[v] = true;
  }

  void need_inputs(const Instruction& instruction) {
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      need(instruction.inputs[k]);
    }
  }
  // Loads an operand that is not there yet.
  void need(uint16_t read) {
    const uint16_t v = schedule_.values[read].source;
    if (!made_[v]) {
      made_[v] = true;
      load(v);
    }
  }

  bool is_reduction(size_t i) const {
    return program_.instructions[i].action == Action::reduce;
  }
  bool has_reductions() const {
    return std::any_of(
        program_.instructions.begin(), program_.instructions.end(), [](const Instruction& each) {
          return each.action == Action::reduce;
        });
  }
  const ProgramSchedule::Value& value_of(size_t i) const {
    return schedule_.values[program_.operands.size() + i];
  }
  template <typename Do>
  void for_each_in(uint32_t pass, Do&& run) {
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      if (program_.instructions[i].action != Action::spread &&
          (value_of(i).passes >> pass & 1) != 0) {
        run(i);
      }
    }
  }

  // Values of the row that are known before a pass. What elements read of it is loaded here, too,
  // because loops forget what they load.
  void rows(uint32_t pass) {
    if (pass == 0) {
      for (size_t v = 0; v < program_.operands.size(); ++v) {
        if (schedule_.values[v].of_row) {
          need(static_cast<uint16_t>(v));
        }
      }
    }
    for_each_in(pass, [&](size_t i) {
      if (value_of(i).of_row && !is_reduction(i)) {
        make(i);
      }
    });
  }

  std::string operation(size_t i) const {
    const Instruction& instruction = program_.instructions[i];
    return concat(kReductions[instruction.op], "<", compute_type_of(instruction.in), ">");
  }

  void pass(uint32_t pass) {
    rows(pass);
    for_each_in(pass, [&](size_t i) {
      if (is_reduction(i)) {
        line(concat(
            "typename ", operation(i), "::Value a", i, " = ", operation(i), "::identity();"));
      }
    });
    const bool loops = !schedule_.is_split && !layout_.is_resident;
    const std::vector<bool> before = made_;
    if (loops) {
      line("for (Index unit = lid; unit < Index(p.words[0]); unit += threads) {");
      line("const bool present = true;");
      index("unit", layout_.row_ndim, layout_.ndim);
    }
    for_each_in(pass, [&](size_t i) { element(i); });
    if (pass + 1 == schedule_.passes) {
      store_elements();
    }
    if (loops) {
      line("}");
      made_ = before;
    }
    for_each_in(pass, [&](size_t i) {
      if (is_reduction(i)) {
        combine(i);
      }
    });
  }

  void element(size_t i) {
    if (!is_reduction(i)) {
      if (!value_of(i).of_row && !made_[program_.operands.size() + i]) {
        make(i);
      }
      return;
    }
    need_inputs(program_.instructions[i]);
    const std::string of = operation(i);
    const std::string input = name(program_.instructions[i].inputs[0]);
    line(concat(
        "if (present) { ",
        each(),
        "a",
        i,
        " = ",
        of,
        "::combine(a",
        i,
        ", ",
        of,
        "::of(",
        input,
        ")); }"));
  }

  void combine(size_t i) {
    const size_t v = program_.operands.size() + i;
    const Dtype out = program_.instructions[i].out;
    const std::string of = operation(i);
    line(concat("typedef typename ", of, "::Value Value", i, ";"));
    line(concat("THREADGROUP_ARRAY(Value", i, ", shared", i, ", [32]);"));
    line(concat(
        "a",
        i,
        " = combine_all_threads<",
        of,
        ">(a",
        i,
        ", shared",
        i,
        ", lane, simdgroup, simdgroups);"));
    line(concat(
        "const ",
        compute_type_of(out),
        " v",
        v,
        " = ",
        rounded(concat(compute_type_of(out), "(a", i, ")"), out),
        ";"));
    made_[v] = true;
  }

  void store_elements() {
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      const uint16_t output = program_.outputs[i];
      if (schedule_.is_split || program_.is_whole(output)) {
        store(i);
      }
    }
  }

  void store(size_t i) {
    const uint16_t output = program_.outputs[i];
    const size_t k = program_.operands.size() + i;
    const std::string type = type_of(program_.dtype_of(output));
    line(concat("const int64_t at", k, " = ", offset(k, false), ";"));
    line(schedule_.is_split ? "{" : "if (present) {");
    if (layout_.access[k] == Access::packed) {
      line(concat("Pack<", type, ", N> y;"));
      line(concat(each(), "y.values[k] = ", type, "(", name(output), ");"));
      line(concat("*(device Pack<", type, ", N>*)(m", k, " + at", k, ") = y;"));
    } else {
      const std::string along =
          layout_.ndim > layout_.row_ndim ? concat(" + k * ", stride(k, layout_.ndim - 1)) : "";
      line(concat(each(), "m", k, "[at", k, along, "] = ", type, "(", name(output), ");"));
    }
    line("}");
  }

  // Threads of the row may have read where its values lie.
  void store_rows() {
    bool is_first = true;
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      const uint16_t output = program_.outputs[i];
      const size_t k = program_.operands.size() + i;
      if (program_.is_whole(output)) {
        continue;
      }
      if (std::exchange(is_first, false)) {
        line("threadgroup_barrier(mem_flags::mem_device);");
      }
      const std::string type = type_of(program_.dtype_of(output));
      line(concat(
          "if (lid == 0) { m", k, "[", offset(k, true), "] = ", type, "(", name(output), "); }"));
    }
  }

  const Program& program_;
  const ProgramSchedule schedule_;
  const ProgramLayout& layout_;
  const Dialect dialect_;
  const ProgramWords words_;
  std::string text_;
  std::vector<bool> made_;      // by value
  std::vector<bool> is_array_;  // by value: it has a number for each element of a pack
  std::vector<size_t> strides_; // by operand of the call: their place among the words
};

} // namespace

std::string text_of(const Program& program, const ProgramLayout& layout, Dialect dialect) {
  return Writer(program, layout, dialect).run();
}

} // namespace narrows::gpu
