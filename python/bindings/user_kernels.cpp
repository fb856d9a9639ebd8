#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/core/errors.h"

namespace narrows::python {
namespace {

using Names = std::vector<std::string>;
using Sizes = std::array<int64_t, 3>;
using Template = std::vector<std::pair<std::string, std::variant<bool, int64_t, Dtype>>>;

constexpr int64_t kMostThreadsOfGroup = 1024;

bool is_identifier(const std::string& name) {
  const auto is_part = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::ranges::all_of(name, is_part);
}

void require_identifier(const char* op, const char* what, const std::string& name) {
  if (!is_identifier(name)) {
    fail<ValueError>("[", op, "] ", what, " '", name, "', expected letters, digits and '_'.");
  }
}

void require_count(const char* op, const char* what, size_t count, size_t expected) {
  if (count != expected) {
    fail<ValueError>("[", op, "] ", count, " ", what, ", expected ", expected, ".");
  }
}

void require_not_negative(const char* op, const char* what, int64_t value) {
  if (value < 0) {
    fail<ValueError>("[", op, "] ", what, " ", value, ", expected 0 or more.");
  }
}

void require_outputs(
    const char* op, const std::vector<Shape>& shapes, const std::vector<Dtype>& dtypes) {
  require_count(op, "output_dtypes", dtypes.size(), shapes.size());
  for (const Shape& shape : shapes) {
    checked_size(op, shape);
  }
}

void require_threads(const char* op, const Sizes& grid, const Sizes& threadgroup) {
  const auto require = [&](const char* what, const Sizes& sizes, int64_t most) {
    const bool good = std::ranges::all_of(sizes, [](int64_t n) { return n > 0; });
    int64_t product = good ? 1 : most + 1;
    for (const int64_t n : sizes) {
      product = product > most / std::max<int64_t>(n, 1) ? most + 1 : product * n;
    }
    if (product > most) {
      fail<ValueError>(
          "[",
          op,
          "] ",
          what,
          " ",
          to_string(Shape(sizes.begin(), sizes.end())),
          ", expected three positive sizes of at most ",
          most,
          " threads.");
    }
  };
  require("grid", grid, int64_t{1} << 62);
  require("threadgroup", threadgroup, kMostThreadsOfGroup);
}

void require_operands(const char* op, const std::vector<ScalarOrArray>& inputs) {
  for (const ScalarOrArray& input : inputs) {
    to_operand(op, input.object);
  }
}

// A kernel in the words of a program: what metal_kernel() and cuda_kernel() return.
class UserKernel {
 public:
  UserKernel(const char* op, std::string name, Names inputs, Names outputs)
      : op_(op), name_(std::move(name)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {
    require_identifier(op_, "name", name_);
    Names all = inputs_;
    all.insert(all.end(), outputs_.begin(), outputs_.end());
    for (const std::string& parameter : all) {
      require_identifier(op_, "parameter", parameter);
    }
    std::ranges::sort(all);
    if (const auto same = std::ranges::adjacent_find(all); same != all.end()) {
      fail<ValueError>("[", op_, "] two parameters '", *same, "', expected different names.");
    }
    if (outputs_.empty()) {
      fail<ValueError>("[", op_, "] output_names is empty, expected at least one.");
    }
  }

  std::vector<array> operator()(
      const std::vector<ScalarOrArray>& inputs,
      const std::vector<Shape>& output_shapes,
      const std::vector<Dtype>& output_dtypes,
      const Sizes& grid,
      const Sizes& threadgroup,
      const std::optional<Template>& arguments) const {
    require_count(op_, "inputs", inputs.size(), inputs_.size());
    require_count(op_, "output_shapes", output_shapes.size(), outputs_.size());
    require_outputs(op_, output_shapes, output_dtypes);
    require_threads(op_, grid, threadgroup);
    for (const auto& [parameter, value] : arguments.value_or(Template{})) {
      require_identifier(op_, "template argument", parameter);
    }
    require_operands(op_, inputs);
    fail_to_run(op_, name_);
  }

  [[noreturn]] static void fail_to_run(const std::string& op, const std::string& name) {
    const bool is_metal = op == "metal_kernel";
    fail<std::runtime_error>(
        "[",
        op,
        "] kernel '",
        name,
        "' cannot run: no backend here compiles kernels of programs, expected a device with ",
        is_metal ? "Metal." : "CUDA.");
  }

  std::string describe() const {
    return concat_message(op_, "(", name_, ")");
  }

 private:
  const char* op_;
  std::string name_;
  Names inputs_;
  Names outputs_;
};

void require_compile_options(nb::handle options) {
  if (options.is_none()) {
    return;
  }
  if (!PyDict_Check(options.ptr())) {
    fail<ValueError>(
        "[metal_kernel] compile_options of type ",
        nb::type_name(options.type()).c_str(),
        ", expected a dict.");
  }
  for (const auto& [key, value] : nb::borrow<nb::dict>(options)) {
    const std::string name = nb::str(key).c_str();
    const std::string mode = nb::str(value).c_str();
    if (name != "math_mode" || (mode != "safe" && mode != "relaxed" && mode != "fast")) {
      fail<ValueError>(
          "[metal_kernel] compile_options has '",
          name,
          "': '",
          mode,
          "', expected 'math_mode': 'safe', 'relaxed' or 'fast'.");
    }
  }
}

void bind_class(nb::module_& m) {
  nb::class_<UserKernel> c(m, "_UserKernel", "A kernel written by a program.");
  c.def("__repr__", &UserKernel::describe);
  define_method<
      "__call__(self, *, inputs: Sequence[scalar | array], output_shapes: Sequence[Sequence[int]], "
      "output_dtypes: Sequence[Dtype], grid: tuple[int, int, int], threadgroup: tuple[int, int, "
      "int], template: Sequence[tuple[str, bool | int | Dtype]] | None = None, init_value: float | "
      "None = None, verbose: bool = False, stream: StreamOrDevice = None) -> list[array]">(
      c,
      [](const UserKernel& self,
         const std::vector<ScalarOrArray>& inputs,
         const std::vector<Shape>& output_shapes,
         const std::vector<Dtype>& output_dtypes,
         const Sizes& grid,
         const Sizes& threadgroup,
         const std::optional<Template>& arguments,
         std::optional<double>,
         bool,
         const StreamArg&) {
        return self(inputs, output_shapes, output_dtypes, grid, threadgroup, arguments);
      },
      R"(Runs the kernel, on a device that can.

      Args:
        inputs: Arrays or numbers, one for each name.
        output_shapes: The shape of each result.
        output_dtypes: The dtype of each result.
        grid: How many threads there are along three axes.
        threadgroup: How many of them are a group, 1024 at most.
        template: Names that the source uses, and what they stand for.
        init_value: What results are filled with before. None: nothing.
        verbose: Whether to print the source that is compiled.

      Returns:
        The results.

      Raises:
        ValueError: If numbers of inputs or results, or sizes, do not fit.
        RuntimeError: If no device can run it.
      )");
}

void bind_metal_kernel(nb::module_& m) {
  define<
      "metal_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], source: "
      "str, header: str = '', ensure_row_contiguous: bool = True, atomic_outputs: bool = False, "
      "compile_options: object | None = None) -> object">(
      m,
      [](const std::string& name,
         const Names& input_names,
         const Names& output_names,
         const std::string&,
         const std::string&,
         bool,
         bool,
         nb::handle compile_options) {
        require_compile_options(compile_options);
        return UserKernel("metal_kernel", name, input_names, output_names);
      },
      R"(A kernel of one's own for Metal. It can be made everywhere, as programs do on import.

      No backend runs it yet: a call checks its arguments and raises RuntimeError.

      Args:
        name: A name for messages: letters, digits and '_'.
        input_names: The names of the inputs in the source.
        output_names: The names of the results in the source.
        source: The body of a function in the Metal Shading Language.
        header: What stands before the function.
        ensure_row_contiguous: Whether inputs are copied unless they are row-contiguous.
        atomic_outputs: Whether results are atomic.
        compile_options: None, or a dict with "math_mode": "safe", "relaxed" or "fast".

      Returns:
        An object to call with `inputs`, `output_shapes`, `output_dtypes`, `grid`, `threadgroup` and,
        if wanted, `template`, `init_value`, `verbose` and `stream`.

      Raises:
        ValueError: If there are no results, two parameters have one name, a name is none, or
          for other options.

      Example:
        >>> source = "o[thread_position_in_grid.x] = 2 * a[thread_position_in_grid.x];"
        >>> mx.fast.metal_kernel("twice", ["a"], ["o"], source)
        metal_kernel(twice)
      )");
}

void bind_cuda_kernels(nb::module_& m) {
  define<
      "cuda_kernel(name: str, input_names: Sequence[str], output_names: Sequence[str], source: "
      "str, header: str = '', ensure_row_contiguous: bool = True, shared_memory: int = 0) -> "
      "object">(
      m,
      [](const std::string& name,
         const Names& input_names,
         const Names& output_names,
         const std::string&,
         const std::string&,
         bool,
         int64_t shared_memory) {
        require_not_negative("cuda_kernel", "shared_memory", shared_memory);
        return UserKernel("cuda_kernel", name, input_names, output_names);
      },
      R"(A kernel of one's own for CUDA. It can be made everywhere, as programs do on import.

      No backend runs it yet: a call checks its arguments and raises RuntimeError.

      Args:
        name: A name for messages: letters, digits and '_'.
        input_names: The names of the inputs in the source.
        output_names: The names of the results in the source.
        source: The body of a function in CUDA C++.
        header: What stands before the function.
        ensure_row_contiguous: Whether inputs are copied unless they are row-contiguous.
        shared_memory: Bytes of shared memory whose size the source does not tell.

      Returns:
        An object to call, as that of `metal_kernel()`.

      Raises:
        ValueError: If there are no results, two parameters have one name, a name is none, or
          `shared_memory` is negative.

      Example:
        >>> source = "o[threadIdx.x] = 2 * a[threadIdx.x];"
        >>> mx.fast.cuda_kernel("twice", ["a"], ["o"], source)
        cuda_kernel(twice)
      )");
  define<
      "precompiled_cuda_kernel(*, name: str, compiled_source: bytes, inputs: Sequence[scalar | "
      "array], output_shapes: Sequence[Sequence[int]], output_dtypes: Sequence[Dtype], scalars: "
      "Sequence[object], grid: tuple[int, int, int], threadgroup: tuple[int, int, int], "
      "shared_memory: int = 0, init_value: float | None = None, ensure_row_contiguous: bool = "
      "False, stream: StreamOrDevice = None) -> list[array]">(
      m,
      [](const std::string& name,
         const nb::bytes&,
         const std::vector<ScalarOrArray>& inputs,
         const std::vector<Shape>& output_shapes,
         const std::vector<Dtype>& output_dtypes,
         const nb::sequence& scalars,
         const Sizes& grid,
         const Sizes& threadgroup,
         int64_t shared_memory,
         std::optional<double>,
         bool,
         const StreamArg&) -> std::vector<array> {
        constexpr const char* kOp = "precompiled_cuda_kernel";
        require_identifier(kOp, "name", name);
        require_outputs(kOp, output_shapes, output_dtypes);
        require_threads(kOp, grid, threadgroup);
        require_not_negative(kOp, "shared_memory", shared_memory);
        for (const nb::handle scalar : scalars) {
          if (!PyLong_Check(scalar.ptr()) && !PyFloat_Check(scalar.ptr())) {
            fail<TypeError>(
                "[precompiled_cuda_kernel] scalar of type ",
                nb::type_name(scalar.type()).c_str(),
                ", expected bool, int or float.");
          }
        }
        require_operands(kOp, inputs);
        UserKernel::fail_to_run(kOp, name);
      },
      R"(Runs a kernel for CUDA that is compiled already.

      No backend runs it yet: a call checks its arguments and raises RuntimeError.

      Args:
        name: The kernel's name in what is compiled.
        compiled_source: PTX, or a cubin.
        inputs: Arrays or numbers, which are the kernel's first parameters.
        output_shapes: The shape of each result.
        output_dtypes: The dtype of each result.
        scalars: Numbers (bool, int, float), which are the kernel's last parameters.
        grid: How many threads there are along three axes.
        threadgroup: How many of them are a block, 1024 at most.
        shared_memory: Bytes of shared memory whose size the kernel does not tell.
        init_value: What results are filled with before. None: nothing.
        ensure_row_contiguous: Whether inputs are copied unless they are row-contiguous.

      Returns:
        The results.

      Raises:
        ValueError: If numbers of results, or sizes, do not fit.
        TypeError: If a scalar is no number.
        RuntimeError: If no device can run it.

      Example:
        >>> try:
        ...     mx.fast.precompiled_cuda_kernel(
        ...         name="twice", compiled_source=b"", inputs=[], output_shapes=[(1,)],
        ...         output_dtypes=[mx.int32], scalars=[2], grid=(1, 1, 1), threadgroup=(1, 1, 1))
        ... except RuntimeError:
        ...     print("no CUDA")
        no CUDA
      )");
}

void bind_user_kernels(nb::module_& parent) {
  bind_class(parent);
  nb::module_ m = parent.def_submodule("fast");
  bind_metal_kernel(m);
  bind_cuda_kernels(m);
}

const Binding binding{&bind_user_kernels};

} // namespace
} // namespace narrows::python
