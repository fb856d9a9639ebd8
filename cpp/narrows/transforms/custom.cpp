#include "narrows/transforms/custom.h"

#include "narrows/ops/key_scope.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

std::vector<array> join(const std::vector<array>& a, const std::vector<array>& b) {
  std::vector<array> both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

// Its inputs are those of the function, then the outputs that the function computed from them.
class Custom final : public View {
 public:
  Custom(size_t arity, CustomRules rules) : arity_(arity), rules_(std::move(rules)) {
  }

  const char* name() const override {
    return "custom_function";
  }
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      const uint32_t from = static_cast<uint32_t>(arity_) + i;
      placement.view(i, from, Layout(placement.input_layout(from)));
    }
  }

  std::vector<array> decompose(std::span<const array> inputs, Stream) const override {
    return {inputs.begin() + arity_, inputs.end()};
  }

  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    if (!rules_.vjp) {
      std::copy(cotangents.begin(), cotangents.end(), result.begin() + arity_);
      return result;
    }
    std::vector<array> found = rules_.vjp(
        primals(op.inputs),
        filled(cotangents, op.outputs, op.stream),
        {op.outputs.begin(), op.outputs.end()});
    require_count("vjp", found.size(), arity_);
    for (size_t i = 0; i < arity_; ++i) {
      if (found[i] && found[i].shape() != op.inputs[i].shape()) {
        fail<ValueError>(
            "[custom_function] vjp returned a cotangent of shape ",
            to_string(found[i].shape()),
            " for an input of shape ",
            to_string(op.inputs[i].shape()),
            ", expected the same shape.");
      }
      result[i] = std::move(found[i]);
    }
    return result;
  }

  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    if (!rules_.jvp) {
      return {tangents.begin() + arity_, tangents.end()};
    }
    std::vector<array> found =
        rules_.jvp(primals(op.inputs), {tangents.begin(), tangents.begin() + arity_});
    require_count("jvp", found.size(), op.outputs.size());
    return found;
  }

  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const std::vector<array> arguments = primals(inputs);
    std::vector<array> outputs;
    if (rules_.vmap) {
      const std::vector<Batched> found =
          rules_.vmap(arguments, {batched.begin(), batched.begin() + arity_});
      require_count("vmap", found.size(), op.outputs.size());
      for (const Batched& output : found) {
        outputs.push_back(as_batch(output.value, output.batched, size, op.stream));
      }
    } else {
      for (size_t i = arity_; i < inputs.size(); ++i) {
        outputs.push_back(as_batch(inputs[i], batched[i], size, op.stream));
      }
    }
    if (!rules_.vjp && !rules_.jvp) {
      return outputs;
    }
    return record(
        std::make_shared<Custom>(arity_, batched_rules(batched)),
        op.stream,
        specs_of(outputs),
        join(arguments, outputs));
  }

 private:
  std::vector<array> primals(std::span<const array> inputs) const {
    return {inputs.begin(), inputs.begin() + arity_};
  }

  static void require_count(const char* rule, size_t found, size_t expected) {
    if (found != expected) {
      fail<ValueError>(
          "[custom_function] ", rule, " returned ", found, " arrays, expected ", expected, ".");
    }
  }

  // The rules of the batched function: the rules of one entry, applied to a batch.
  CustomRules batched_rules(const std::vector<bool>& batched) const {
    std::vector<std::optional<int>> axes;
    for (size_t i = 0; i < arity_; ++i) {
      axes.push_back(batched[i] ? std::optional<int>(0) : std::nullopt);
    }
    CustomRules result;
    if (rules_.vjp) {
      result.vjp = [axes, rule = rules_.vjp](
                       const std::vector<array>& primals,
                       const std::vector<array>& cotangents,
                       const std::vector<array>& outputs) {
        std::vector<std::optional<int>> all = axes;
        all.resize(axes.size() + cotangents.size() + outputs.size(), 0);
        const size_t first = axes.size();
        const size_t last = first + cotangents.size();
        const Function entry = [&](const std::vector<array>& a) {
          return rule(
              {a.begin(), a.begin() + first},
              {a.begin() + first, a.begin() + last},
              {a.begin() + last, a.end()});
        };
        const BatchedOutputs found =
            narrows::vmap(entry, join(join(primals, cotangents), outputs), all);
        std::vector<array> sums;
        for (size_t i = 0; i < found.outputs.size(); ++i) {
          const array batch = batch_along(found.outputs[i], found.size, 0);
          sums.push_back(axes[i] ? batch : sum(batch, Axes{0}, false, batch.stream()));
        }
        return sums;
      };
    }
    if (rules_.jvp) {
      result.jvp = [axes, rule = rules_.jvp](
                       const std::vector<array>& primals, const std::vector<array>& given) {
        std::vector<array> tangents = filled(given, primals);
        std::vector<std::optional<int>> all = axes;
        all.insert(all.end(), axes.begin(), axes.end());
        const size_t arity = axes.size();
        const Function entry = [&](const std::vector<array>& a) {
          return rule({a.begin(), a.begin() + arity}, {a.begin() + arity, a.end()});
        };
        const BatchedOutputs found = narrows::vmap(entry, join(primals, tangents), all);
        std::vector<array> results;
        for (const Batched& output : found.outputs) {
          results.push_back(batch_along(output, found.size, 0));
        }
        return results;
      };
    }
    return result;
  }

  size_t arity_;
  CustomRules rules_;
};

} // namespace

std::vector<array> custom_function(
    const Function& function, const std::vector<array>& inputs, const CustomRules& rules) {
  const std::vector<array> outputs = function(inputs);
  if (outputs.empty()) {
    return outputs;
  }
  return record(
      std::make_shared<Custom>(inputs.size(), rules),
      outputs[0].stream(),
      specs_of(outputs),
      join(inputs, outputs));
}

std::vector<array> checkpoint(const Function& function, const std::vector<array>& inputs) {
  const auto keys = std::make_shared<random::KeysTaken>();
  const Function first_time = [&](const std::vector<array>& given) {
    const random::NotedKeys noted(*keys);
    return function(given);
  };
  CustomRules rules;
  rules.vjp = [function, keys](
                  const std::vector<array>& primals,
                  const std::vector<array>& cotangents,
                  const std::vector<array>&) {
    const random::RepeatedKeys repeated(*keys);
    // Not before the cotangents are there: else evaluation could compute it ahead and keep it.
    return vjp(function, primals, cotangents, cotangents).second;
  };
  return custom_function(first_time, inputs, rules);
}

} // namespace narrows
