#include "narrows/transforms/compile.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstdlib>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/function.h"
#include "bindings/tree.h"
#include "narrows/order/settings.h"
#include "narrows/record/trace.h"

namespace narrows::python {
namespace {

constexpr size_t kReasonsKept = 16;

bool is_on(const char* variable) {
  const char* text = std::getenv(variable);
  return text && *text && std::string_view(text) != "0";
}

// Counters of all compiled functions, guarded by the interpreter's lock.
struct Compiling {
  bool enabled = !is_on("NARROWS_DISABLE_COMPILE") && !is_on("MLX_DISABLE_COMPILE");
  int64_t most_graphs = 64; // of one function
  int64_t hits = 0;
  int64_t misses = 0;
  int64_t evictions = 0;
  int64_t graphs = 0;
};
Compiling& compiling() {
  static Compiling instance;
  return instance;
}

bool is_dtype(nb::handle object) {
  DtypeObject* dtype = nullptr;
  return nb::try_cast(object, dtype, false);
}

// What a graph depends on by its value: a number, a string, a dtype, None.
bool is_constant(nb::handle leaf) {
  PyObject* o = leaf.ptr();
  return o == Py_None || PyFloat_Check(o) || PyLong_Check(o) || PyUnicode_Check(o) ||
         PyComplex_Check(o) || is_dtype(leaf);
}

// Functions and other objects: they may stand in the state of a call, and are left as they are.
bool is_object(nb::handle leaf) {
  return !array_inside(leaf) && !is_constant(leaf);
}

// What a recorded graph depends on, as bytes: the form of the arguments, shapes and dtypes of
// arrays, values of constants.
class CallKey {
 public:
  void add_arguments(nb::handle tree) {
    objects_allowed_ = false;
    add(tree);
  }
  void add_state(nb::handle tree) {
    objects_allowed_ = true;
    add(tree);
  }

  void add(Stream stream) {
    put(stream.device.type);
    put(stream.device.index);
    put(stream.index);
  }

  const std::string& bytes() const {
    return bytes_;
  }

 private:
  void add(nb::handle tree) {
    PyObject* object = tree.ptr();
    if (const array* a = array_inside(tree)) {
      add_array(*a);
    } else if (PyList_Check(object) || PyTuple_Check(object)) {
      add_sequence(tree, PyList_Check(object) ? 'l' : 't');
    } else if (PyDict_Check(object)) {
      put('d');
      put(PyDict_GET_SIZE(object));
      PyObject *key, *value;
      for (Py_ssize_t i = 0; PyDict_Next(object, &i, &key, &value);) {
        add(key);
        add(value);
      }
    } else if (is_array_holder(tree)) {
      add_sequence(arrays_held_by(tree), 'h');
    } else {
      add_constant(tree);
    }
  }

  template <typename T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  void add_array(const array& a) {
    put('a');
    put(a.dtype());
    put(a.ndim());
    for (int64_t n : a.shape()) {
      put(n);
    }
  }

  void add_sequence(nb::handle sequence, char kind) {
    PyObject* object = sequence.ptr();
    put(kind);
    put(PySequence_Fast_GET_SIZE(object));
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
      add(PySequence_Fast_GET_ITEM(object, i));
    }
  }

  void add_constant(nb::handle value) {
    PyObject* object = value.ptr();
    DtypeObject* dtype = nullptr;
    if (value.is_none()) {
      put('n');
    } else if (PyFloat_Check(object)) {
      put('f');
      put(PyFloat_AS_DOUBLE(object));
    } else if (PyBool_Check(object)) {
      put(object == Py_True ? 'T' : 'F');
    } else if (PyLong_Check(object) || PyUnicode_Check(object) || PyComplex_Check(object)) {
      const std::string text = nb::cast<std::string>(nb::repr(value));
      put('c');
      put(text.size());
      bytes_ += text;
    } else if (nb::try_cast(value, dtype, false)) {
      put('y');
      put(dtype->dtype);
    } else if (objects_allowed_) {
      put('o');
    } else {
      fail<ValueError>(
          "[compile] an argument contains a ",
          nb::type_name(value.type()).c_str(),
          ", expected trees of arrays and constants (numbers, strings, dtypes, None).");
    }
  }

  bool objects_allowed_ = false;
  std::string bytes_;
};

// The leaves of a call in words, to explain why a graph is recorded.
std::vector<std::string> describe_leaves(nb::handle tree) {
  std::vector<std::string> leaves;
  map_tree(tree, [&](nb::handle leaf) {
    if (const array* a = array_inside(leaf)) {
      leaves.push_back(concat_message(to_string(a->shape()), " ", name_of(a->dtype())));
    } else if (is_object(leaf)) {
      leaves.push_back(nb::type_name(leaf.type()).c_str());
    } else {
      leaves.push_back(nb::cast<std::string>(nb::repr(leaf)));
    }
    return nb::borrow(leaf);
  });
  return leaves;
}

// The graphs of one function, the latest used first.
struct GraphCache {
  struct Entry {
    std::string key;
    std::vector<std::string> leaves;
    std::shared_ptr<const RecordedGraph> graph;
    HeldObject result; // the forms of the returned tree and of the trees in `outputs`
    HeldObject outputs;
    size_t result_count = 0; // arrays in the result
  };
  std::optional<CallBudget> budget; // of its calls
  std::list<Entry> entries;
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key;
  std::deque<std::string> reasons; // the latest last

  ~GraphCache() {
    compiling().graphs -= static_cast<int64_t>(entries.size());
  }

  Entry* find(const std::string& key) {
    const auto at = by_key.find(key);
    if (at == by_key.end()) {
      return nullptr;
    }
    entries.splice(entries.begin(), entries, at->second);
    return &entries.front();
  }

  Entry& add(Entry entry) {
    explain(entry);
    entries.push_front(std::move(entry));
    by_key[entries.front().key] = entries.begin();
    ++compiling().graphs;
    while (static_cast<int64_t>(entries.size()) > compiling().most_graphs) {
      by_key.erase(entries.back().key);
      entries.pop_back();
      --compiling().graphs;
      ++compiling().evictions;
    }
    return entries.front();
  }

  void explain(const Entry& added) {
    std::string reason = "first call";
    if (!entries.empty()) {
      const std::vector<std::string>& before = entries.front().leaves;
      reason = "the form of the arguments, or the default stream, is another";
      for (size_t i = 0; before.size() == added.leaves.size() && i < before.size(); ++i) {
        if (before[i] != added.leaves[i]) {
          reason = concat_message("leaf ", i, " is ", added.leaves[i], ", was ", before[i]);
          break;
        }
      }
    }
    reasons.push_back(std::move(reason));
    if (reasons.size() > kReasonsKept) {
      reasons.pop_front();
    }
  }
};

// Restores the contents of containers.
class StateGuard {
 public:
  explicit StateGuard(nb::handle state) : state_(nb::borrow(state)), content_(content_of(state)) {
  }
  ~StateGuard() {
    // If another error is being raised, that one is reported.
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    try {
      put_back();
    } catch (...) {
      PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
  }
  void put_back() {
    if (content_.is_valid()) {
      update_in_place(state_, content_);
    }
    content_.reset();
  }

 private:
  // A single array is changed itself.
  static nb::object content_of(nb::handle state) {
    const array* a = array_inside(state);
    return a ? nb::cast(*a) : map_tree(state, [](nb::handle leaf) { return nb::borrow(leaf); });
  }

  nb::object state_;
  nb::object content_;
};

GraphCache::Entry record_call(
    const nb::object& function,
    const nb::args& args,
    const nb::kwargs& kwargs,
    nb::handle state,
    std::optional<CallBudget> budget) {
  const nb::object inputs = state["inputs"];
  const nb::object outputs = state["outputs"];
  const nb::object call = nb::make_tuple(args, kwargs, inputs);
  GraphCache::Entry entry;
  entry.leaves = describe_leaves(call);
  StateGuard guard(inputs);
  const Function recorded = [&](const std::vector<array>& arguments) {
    size_t next = 0;
    const nb::object given = with_arrays(call, arguments, next);
    update_in_place(inputs, given[2]);
    const nb::object result =
        function(*nb::cast<nb::args>(given[0]), **nb::cast<nb::kwargs>(given[1]));
    std::vector<array> all = arrays_in(result);
    entry.result_count = all.size();
    entry.result = hold(form_of(result));
    entry.outputs = hold(form_of(outputs));
    for (const array& output : arrays_in(outputs)) {
      all.push_back(output);
    }
    return all;
  };
  entry.graph = record_graph(recorded, arrays_in(call), budget);
  guard.put_back();
  return entry;
}

nb::object call_compiled(
    GraphCache& cache,
    const TransformedFunction& self,
    const nb::args& args,
    const nb::kwargs& kwargs) {
  if (!compiling().enabled || current_trace().number != 0) {
    return self.function(*args, **kwargs);
  }
  const nb::object inputs = self.state["inputs"];
  CallKey key;
  key.add_arguments(args);
  key.add_arguments(kwargs);
  key.add_state(inputs);
  key.add(default_stream(default_device()));
  GraphCache::Entry* entry = cache.find(key.bytes());
  if (entry) {
    ++compiling().hits;
  } else {
    ++compiling().misses;
    GraphCache::Entry made = record_call(self.function, args, kwargs, self.state, cache.budget);
    made.key = key.bytes();
    entry = &cache.add(std::move(made));
  }
  // From here on other Python threads may run and replace the entry, so its parts are copied.
  const std::shared_ptr<const RecordedGraph> graph = entry->graph;
  const HeldObject result_form = entry->result;
  const HeldObject output_form = entry->outputs;
  const size_t result_count = entry->result_count;
  std::vector<array> arguments = arrays_in(args);
  for (nb::handle tree : {nb::handle(kwargs), nb::handle(inputs)}) {
    for (const array& a : arrays_in(tree)) {
      arguments.push_back(a);
    }
  }
  const std::vector<array> found = call(graph, arguments);
  const std::span<const array> all(found);
  update_in_place(
      self.state["outputs"],
      filled_form(output_form.get(), all.subspan(result_count)),
      [](nb::handle leaf) { return is_object(leaf); });
  return filled_form(result_form.get(), all.first(result_count));
}

nb::object compile_function(
    nb::object fun,
    nb::object inputs,
    nb::object outputs,
    bool /*shapeless*/,
    std::optional<int64_t> budget,
    bool offload) {
  auto cache = std::make_unique<GraphCache>();
  if (budget) {
    const MemoryBudgetScope checks_it(*budget);
    cache->budget = CallBudget{*budget, offload};
  }
  nb::dict state;
  state["inputs"] = std::move(inputs);
  state["outputs"] = std::move(outputs);
  state["cache"] = nb::cast(cache.release(), nb::rv_policy::take_ownership);
  return transformed(
      "compile",
      std::move(fun),
      [](const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
        GraphCache& cache = nb::cast<GraphCache&>(self.state["cache"]);
        return call_compiled(cache, self, args, kwargs);
      },
      std::move(state));
}

nb::dict cache_info(nb::handle function) {
  nb::dict info;
  if (function.is_none()) {
    info["hits"] = compiling().hits;
    info["misses"] = compiling().misses;
    info["evictions"] = compiling().evictions;
    info["graphs"] = compiling().graphs;
    info["limit"] = compiling().most_graphs;
    return info;
  }
  TransformedFunction* compiled = nullptr;
  if (!nb::try_cast(function, compiled, false) || !compiled->state.is_valid() ||
      !PyDict_Check(compiled->state.ptr()) ||
      !nb::borrow<nb::dict>(compiled->state).contains("cache")) {
    fail<TypeError>(
        "[compile_cache_info] a ",
        nb::type_name(function.type()).c_str(),
        ", expected a function that compile() returned.");
  }
  const GraphCache& cache = nb::cast<GraphCache&>(compiled->state["cache"]);
  nb::list reasons;
  for (const std::string& reason : cache.reasons) {
    reasons.append(reason);
  }
  nb::list operations;
  for (const GraphCache::Entry& entry : cache.entries) {
    operations.append(node_count(*entry.graph));
  }
  info["graphs"] = cache.entries.size();
  info["operations"] = operations;
  info["reasons"] = reasons;
  return info;
}

void bind_compile(nb::module_& m) {
  nb::class_<GraphCache>(m, "_GraphCache", "The graphs that a compiled function has recorded.");
  define<
      "compile(fun: Callable, inputs: object | None = None, outputs: object | None = "
      "None, shapeless: bool = False, *, budget: int | None = None, offload: bool = False) -> "
      "Callable">(
      m,
      &compile_function,
      R"(A function that is recorded and planned at its first call and then only run.

      A call is one operation of the graph. The function is recorded again for arguments of
      another form, shape or dtype, and for other constants; see `compile_cache_info()`. Arrays
      must not be evaluated in it. Inside of other transformations it is called as it is.

      Args:
        fun: A function. Its arguments and results are arrays, constants, and nested lists, tuples
          and dicts of these. Other arrays that it captures are taken as they were at the first
          call.
        inputs: Containers of arrays that it reads beside its arguments, as
          ``[model.state, optimizer.state, mx.random.state]``. Of other things in them, constants count
          as those of arguments do; functions and objects are taken as they were at the first call.
        outputs: Containers in which it leaves arrays.
        shapeless: Accepted and without effect: other shapes are recorded anew.
        budget: Bytes of active memory that its calls are to stay within, as for
          `set_memory_budget()`. None: that of the evaluation that a call is part of.
        offload: Whether values may be copied to the host and back for this budget.

      Returns:
        A function with the same arguments.

      Raises:
        ValueError: In a call, for arguments of other types. If the budget is negative.
        TypeError: If `fun` cannot be called.

      Example:
        >>> @mx.compile
        ... def gelu(x):
        ...     return x * mx.sigmoid(1.702 * x)
        >>> gelu(mx.array([0.0, 1.0]))
        array([0, 0.845796], dtype=float32)
      )");
  define<"compile_cache_info(fun: Callable | None = None) -> dict">(
      m,
      &cache_info,
      R"(Counters of compiled functions.

      Args:
        fun: A function that `compile()` returned, or None for all of them.

      Returns:
        A dict. For all functions: calls that found a recorded graph (hits) or recorded one
        (misses), the graphs that are kept (graphs) or were dropped (evictions), and how many a
        function may keep (limit). For one function: how many graphs it keeps (graphs), how many
        operations they have (operations), latest used first, and why the latest ones were
        recorded (reasons).

      Raises:
        TypeError: For another object.

      Example:
        >>> double = mx.compile(lambda x: x + x)
        >>> y = double(mx.ones(3))
        >>> mx.compile_cache_info(double)["graphs"]
        1
      )");
  define<"set_compile_cache_limit(graphs: int) -> int">(
      m,
      [](int64_t graphs) {
        if (graphs < 1) {
          fail<ValueError>("[set_compile_cache_limit] ", graphs, ", expected >= 1.");
        }
        return std::exchange(compiling().most_graphs, graphs);
      },
      R"(Bounds how many graphs a compiled function keeps.

      Those that were not used for the longest time go first.

      Args:
        graphs: The number, 64 at first.

      Returns:
        The previous limit.

      Raises:
        ValueError: If it is below 1.

      Example:
        >>> previous = mx.set_compile_cache_limit(8)
        >>> mx.set_compile_cache_limit(previous)
        8
      )");
  define<"disable_compile() -> None">(
      m,
      [] { compiling().enabled = false; },
      R"(From now on, compiled functions are called as they are.

      NARROWS_DISABLE_COMPILE=1 in the environment does the same.

      Example:
        >>> mx.disable_compile()
        >>> mx.enable_compile()
      )");
  define<"enable_compile() -> None">(
      m,
      [] { compiling().enabled = true; },
      R"(Compiled functions are compiled again after `disable_compile()`.

      Example:
        >>> mx.enable_compile()
      )");
}

const Binding binding{&bind_compile};

} // namespace
} // namespace narrows::python
