#include "narrows/ops/einsum.h"

#include <algorithm>
#include <cctype>
#include <iomanip>
#include <map>
#include <set>

#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

// A label of a dimension: a letter, or 256 plus the distance from the last dimension of "...".
using Label = int;
using Labels = std::vector<Label>;
using Sizes = std::map<Label, int64_t>;

bool has(const Labels& labels, Label label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

// The subscripts as labels.
struct Contraction {
  std::vector<Labels> operands;
  Labels output;
  Sizes sizes;
  std::string text; // as it was written, without blanks
};

[[noreturn]] void fail_subscripts(const std::string& text, const std::string& fault) {
  fail<ValueError>("[einsum] subscripts '", text, "': ", fault, ".");
}

// One operand's subscripts. `ellipsis` is the number of dimensions that "..." stands for.
Labels read_labels(const std::string& text, const std::string& part, int ellipsis) {
  Labels labels;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part.compare(i, 3, "...") == 0) {
      if (part.find("...", i + 3) != part.npos) {
        fail_subscripts(text, "'...' comes twice in '" + part + "'");
      }
      for (int k = ellipsis; k-- > 0;) {
        labels.push_back(256 + k);
      }
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(part[i]))) {
      labels.push_back(part[i]);
    } else {
      fail_subscripts(
          text, concat_message("'", part[i], "', expected letters, '...', ',' and '->'"));
    }
  }
  return labels;
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

int ellipsis_of(const std::string& text, const std::string& part, const Shape& shape) {
  if (part.find("...") == part.npos) {
    return 0;
  }
  const int letters = static_cast<int>(part.size()) - 3;
  if (shape.ndim() < letters) {
    fail_subscripts(text, concat_message("'", part, "' for an array of shape ", to_string(shape)));
  }
  return shape.ndim() - letters;
}

void add_sizes(Contraction& c, const Labels& labels, const Shape& shape) {
  for (size_t i = 0; i < labels.size(); ++i) {
    int64_t& size = c.sizes.try_emplace(labels[i], shape[i]).first->second;
    if (size != shape[i] && size != 1 && shape[i] != 1) {
      fail_subscripts(
          c.text,
          concat_message(
              "dimension ",
              i,
              " of an array of shape ",
              to_string(shape),
              ", expected size ",
              size));
    }
    size = size == 1 ? shape[i] : size;
  }
}

// The labels that occur once on the left, sorted.
Labels implied_output(const Contraction& c, int ellipsis) {
  std::map<Label, int> counts;
  for (const Labels& labels : c.operands) {
    for (const Label label : labels) {
      ++counts[label];
    }
  }
  Labels output;
  for (int k = ellipsis; k-- > 0;) {
    output.push_back(256 + k);
  }
  for (const auto& [label, count] : counts) {
    if (label < 256 && count == 1) {
      output.push_back(label);
    }
  }
  return output;
}

Contraction read_contraction(const std::string& subscripts, const std::vector<array>& operands) {
  Contraction c;
  for (const char symbol : subscripts) {
    if (symbol != ' ') {
      c.text.push_back(symbol);
    }
  }
  const size_t arrow = c.text.find("->");
  const std::vector<std::string> parts = split_at_commas(c.text.substr(0, arrow));
  if (parts.size() != operands.size()) {
    fail_subscripts(
        c.text, concat_message(parts.size(), " operands, but ", operands.size(), " arrays"));
  }
  int widest = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Shape& shape = operands[i].shape();
    const int ellipsis = ellipsis_of(c.text, parts[i], shape);
    widest = std::max(widest, ellipsis);
    Labels labels = read_labels(c.text, parts[i], ellipsis);
    if (static_cast<int>(labels.size()) != shape.ndim()) {
      fail_subscripts(
          c.text, concat_message("'", parts[i], "' for an array of shape ", to_string(shape)));
    }
    add_sizes(c, labels, shape);
    c.operands.push_back(std::move(labels));
  }
  c.output = arrow == c.text.npos ? implied_output(c, widest)
                                  : read_labels(c.text, c.text.substr(arrow + 2), widest);
  for (const Label label : c.output) {
    if (std::count(c.output.begin(), c.output.end(), label) > 1 || !c.sizes.count(label)) {
      fail_subscripts(c.text, "letters on the right, expected each once, and on the left, too");
    }
  }
  return c;
}

double size_of_space(const Sizes& sizes, const std::set<Label>& labels) {
  double size = 1;
  for (const Label label : labels) {
    size *= static_cast<double>(sizes.at(label));
  }
  return size;
}

// The labels of operands a and b that the output or another operand has as well.
Labels kept_labels(const std::vector<Labels>& operands, size_t a, size_t b, const Labels& output) {
  std::set<Label> needed(output.begin(), output.end());
  for (size_t i = 0; i < operands.size(); ++i) {
    if (i != a && i != b) {
      needed.insert(operands[i].begin(), operands[i].end());
    }
  }
  Labels kept;
  for (const size_t i : {a, b}) {
    for (const Label label : operands[i]) {
      if (needed.count(label) && !has(kept, label)) {
        kept.push_back(label);
      }
    }
  }
  return kept;
}

struct Cost {
  double flops;
  double result;
  size_t space; // the number of letters
};

Cost cost_of(const Contraction& c, const std::vector<Labels>& operands, size_t a, size_t b) {
  std::set<Label> all(operands[a].begin(), operands[a].end());
  all.insert(operands[b].begin(), operands[b].end());
  const Labels kept = kept_labels(operands, a, b, c.output);
  const int factor = kept.size() < all.size() ? 2 : 1;
  return {
      factor * size_of_space(c.sizes, all),
      size_of_space(c.sizes, {kept.begin(), kept.end()}),
      all.size()};
}

// The cheapest pair; of equally cheap ones, the one with the smallest result.
std::pair<size_t, size_t> cheapest_pair(const Contraction& c, const std::vector<Labels>& operands) {
  std::pair<size_t, size_t> best{0, 1};
  Cost least = cost_of(c, operands, 0, 1);
  for (size_t a = 0; a < operands.size(); ++a) {
    for (size_t b = a + 1; b < operands.size(); ++b) {
      const Cost cost = cost_of(c, operands, a, b);
      if (std::pair(cost.flops, cost.result) < std::pair(least.flops, least.result)) {
        best = {a, b};
        least = cost;
      }
    }
  }
  return best;
}

// An operand during the contraction. Its dimensions have different labels.
struct Term {
  array values;
  Labels labels;
};

int axis_of(const Term& term, Label label) {
  return static_cast<int>(
      std::find(term.labels.begin(), term.labels.end(), label) - term.labels.begin());
}

// Takes the diagonal of labels that occur twice, and drops dimensions of size 1 whose label is
// longer in other operands.
Term prepared(const Contraction& c, array values, Labels labels, StreamOrDevice s) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (values.shape(static_cast<int>(i)) == 1 && c.sizes.at(labels[i]) != 1) {
      values = squeeze(values, {static_cast<int>(i)}, s);
      labels.erase(labels.begin() + static_cast<std::ptrdiff_t>(i--));
    }
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto again =
        std::find(labels.begin() + static_cast<std::ptrdiff_t>(i) + 1, labels.end(), labels[i]);
    if (again != labels.end()) {
      const Label label = labels[i];
      values =
          diagonal(values, 0, static_cast<int>(i), static_cast<int>(again - labels.begin()), s);
      labels.erase(again);
      labels.erase(labels.begin() + static_cast<std::ptrdiff_t>(i--));
      labels.push_back(label); // diagonal() puts it there
    }
  }
  return {std::move(values), std::move(labels)};
}

// Sums the term over labels that are in neither list.
Term summed(Term term, const Labels& kept, const Labels& other, StreamOrDevice s) {
  Axes axes;
  Labels left;
  for (size_t i = 0; i < term.labels.size(); ++i) {
    if (has(kept, term.labels[i]) || has(other, term.labels[i])) {
      left.push_back(term.labels[i]);
    } else {
      axes.push_back(static_cast<int>(i));
    }
  }
  if (axes.empty()) {
    return term;
  }
  const Dtype dtype = term.values.dtype();
  return {astype(sum(term.values, axes, false, s), dtype, s), left};
}

array in_order(const Term& term, const Labels& labels, StreamOrDevice s) {
  Axes axes;
  for (const Label label : labels) {
    axes.push_back(axis_of(term, label));
  }
  return transpose(term.values, axes, s);
}

int64_t product_of(const Sizes& sizes, const Labels& labels) {
  int64_t product = 1;
  for (const Label label : labels) {
    product *= sizes.at(label);
  }
  return product;
}

// Both lists of labels, one behind the other.
Labels joined(std::initializer_list<Labels> lists) {
  Labels all;
  for (const Labels& list : lists) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

Term contracted(
    const Contraction& c,
    const Term& first,
    const Term& second,
    const Labels& kept,
    StreamOrDevice s) {
  const Term a = summed(first, kept, second.labels, s);
  const Term b = summed(second, kept, first.labels, s);
  Labels batch, rows, columns, inner;
  for (const Label label : a.labels) {
    Labels& list = !has(b.labels, label) ? rows : has(kept, label) ? batch : inner;
    list.push_back(label);
  }
  for (const Label label : b.labels) {
    if (!has(a.labels, label)) {
      columns.push_back(label);
    }
  }
  const int64_t m = product_of(c.sizes, rows);
  const int64_t n = product_of(c.sizes, columns);
  const int64_t k = product_of(c.sizes, inner);
  const int64_t stack = product_of(c.sizes, batch);
  const array x = reshape(in_order(a, joined({batch, rows, inner}), s), {stack, m, k}, s);
  const array y = reshape(in_order(b, joined({batch, inner, columns}), s), {stack, k, n}, s);
  array product;
  if (!inner.empty() && is_inexact(x.dtype())) {
    product = matmul(x, y, s);
  } else { // nothing is summed, or the operands are integers, for which matmul() is not defined
    product = multiply(expand_dims(x, {-1}, s), expand_dims(y, {1}, s), s);
    product = astype(sum(product, Axes{2}, false, s), x.dtype(), s);
  }
  const Labels labels = joined({batch, rows, columns});
  Shape shape;
  for (const Label label : labels) {
    shape.push_back(c.sizes.at(label));
  }
  return {reshape(product, shape, s), labels};
}

// Calls step(a, b, kept labels) for each step of contracting the operands; a == b for a single one.
template <typename Step>
void each_step(const Contraction& c, Step&& step) {
  std::vector<Labels> operands = c.operands;
  if (operands.size() == 1) {
    step(size_t{0}, size_t{0}, operands);
  }
  while (operands.size() > 1) {
    const auto [a, b] = cheapest_pair(c, operands);
    step(a, b, operands);
    Labels kept = kept_labels(operands, a, b, c.output);
    operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(b));
    operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(a));
    operands.push_back(std::move(kept));
  }
}

} // namespace

array einsum(const std::string& subscripts, const std::vector<array>& operands, StreamOrDevice s) {
  const Contraction c = read_contraction(subscripts, operands);
  Dtype dtype = operands[0].dtype();
  for (const array& a : operands) {
    dtype = promote(dtype, a.dtype());
  }
  std::vector<Term> terms;
  for (size_t i = 0; i < operands.size(); ++i) {
    terms.push_back(prepared(c, astype(operands[i], dtype, s), c.operands[i], s));
  }
  each_step(c, [&](size_t a, size_t b, const std::vector<Labels>& labels) {
    if (a == b) {
      terms[0] = summed(terms[0], c.output, {}, s);
      return;
    }
    Term result = contracted(c, terms[a], terms[b], kept_labels(labels, a, b, c.output), s);
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(b));
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(a));
    terms.push_back(std::move(result));
  });
  return in_order(terms[0], c.output, s);
}

EinsumPath einsum_path(const std::string& subscripts, const std::vector<array>& operands) {
  const Contraction c = read_contraction(subscripts, operands);
  EinsumPath path;
  std::set<Label> all;
  for (const Labels& labels : c.operands) {
    all.insert(labels.begin(), labels.end());
  }
  const double terms = static_cast<double>(operands.size());
  const double naive = size_of_space(c.sizes, all) *
                       (std::max(1.0, terms - 1) + (c.output.size() < all.size() ? 1 : 0));
  double optimized = operands.size() == 1 ? naive : 0;
  size_t scaling = operands.size() == 1 ? all.size() : 0;
  each_step(c, [&](size_t a, size_t b, const std::vector<Labels>& labels) {
    if (a == b) {
      path.steps.push_back({0});
      return;
    }
    const Cost cost = cost_of(c, labels, a, b);
    optimized += cost.flops;
    scaling = std::max(scaling, cost.space);
    path.steps.push_back({static_cast<int>(a), static_cast<int>(b)});
  });
  path.text = concat_message(
      std::setprecision(15),
      "  Complete contraction:  ",
      c.text,
      "\n         Naive scaling:  ",
      all.size(),
      "\n     Optimized scaling:  ",
      scaling,
      "\n      Naive FLOP count:  ",
      naive,
      "\n  Optimized FLOP count:  ",
      optimized,
      "\n");
  return path;
}

} // namespace narrows
