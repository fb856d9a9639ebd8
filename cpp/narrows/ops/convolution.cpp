#include "narrows/ops/convolution.h"

#include <algorithm>

#include "metal_kernels/convolution.h"
#include "narrows/ops/checks.h"
#include "narrows/ops/convolution_operation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

// Settings beyond this would overflow places.
constexpr int64_t kMostSetting = int64_t{1} << 31;

Dtype checked_dtype(const char* op, const array& input, const array& weight) {
  for (const Dtype dtype : {input.dtype(), weight.dtype()}) {
    if (!is_floating(dtype)) {
      fail<ValueError>("[", op, "] dtype ", name_of(dtype), ", expected floating point numbers.");
    }
  }
  return promote(input.dtype(), weight.dtype());
}

// A setting with a number for each dimension.
Shape checked_setting(
    const char* op, const char* what, const Shape& given, int ndim, int64_t least) {
  Shape result = given;
  if (given.ndim() == 1 && ndim > 1) {
    result = Shape(static_cast<size_t>(ndim), given[0]);
  }
  if (result.ndim() != ndim) {
    fail<ValueError>(
        "[", op, "] ", what, " ", to_string(given), ", expected 1 or ", ndim, " numbers.");
  }
  for (const int64_t n : result) {
    if (n < least || n > kMostSetting) {
      fail<ValueError>(
          "[",
          op,
          "] ",
          what,
          " ",
          to_string(given),
          ", expected numbers from ",
          least,
          " to ",
          kMostSetting,
          ".");
    }
  }
  return result;
}

// Dimensions and channels. The dimensions of `weight` say over how many a convolution is.
void check_shapes(const char* op, int ndim, const Shape& input, const Shape& weight, int groups) {
  if (ndim < 1 || ndim > NARROWS_CONVOLUTION_PLACES) {
    fail<ValueError>(
        "[",
        op,
        "] input of shape ",
        to_string(input),
        ", expected a batch, 1 to 3 sizes and channels.");
  }
  if (input.ndim() != ndim + 2 || weight.ndim() != ndim + 2) {
    fail<ValueError>(
        "[",
        op,
        "] input of shape ",
        to_string(input),
        " and weight of shape ",
        to_string(weight),
        ", expected ",
        ndim + 2,
        " dimensions each.");
  }
  if (groups < 1) {
    fail<ValueError>("[", op, "] groups ", groups, ", expected 1 or more.");
  }
  const int64_t channels = input[input.size() - 1];
  if (channels % groups != 0 || weight[weight.size() - 1] != channels / groups) {
    fail<ValueError>(
        "[",
        op,
        "] input of shape ",
        to_string(input),
        " and weight of shape ",
        to_string(weight),
        " in ",
        groups,
        " groups, expected ",
        channels,
        " input channels to be groups times the last dimension of weight.");
  }
  if (weight[0] % groups != 0) {
    fail<ValueError>(
        "[",
        op,
        "] weight of shape ",
        to_string(weight),
        ", expected output channels that ",
        groups,
        " groups divide.");
  }
  const Shape kernel = spatial(weight);
  if (std::find(kernel.begin(), kernel.end(), 0) != kernel.end()) {
    fail<ValueError>(
        "[",
        op,
        "] weight of shape ",
        to_string(weight),
        ", expected filters of at least one element.");
  }
}

// How many places a filter has in the input.
Shape place_counts(
    const char* op, const ConvolutionSettings& s, const Shape& input, const Shape& weight) {
  Shape result;
  for (size_t i = 0; i < s.stride.size(); ++i) {
    const int64_t n = input[i + 1];
    const int64_t dilated = n == 0 ? 0 : checked_multiply(op, n - 1, s.input_dilation[i]) + 1;
    const int64_t length = dilated + s.padding_low[i] + s.padding_high[i];
    const int64_t reach = checked_multiply(op, weight[i + 1] - 1, s.dilation[i]) + 1;
    if (length < reach) {
      fail<ValueError>(
          "[",
          op,
          "] input of shape ",
          to_string(input),
          " and weight of shape ",
          to_string(weight),
          ": the filter reaches over ",
          reach,
          " elements of dimension ",
          i + 1,
          ", which has ",
          length,
          " with padding; expected at least as many.");
    }
    result.push_back((length - reach) / s.stride[i] + 1);
  }
  return result;
}

// The settings with a number for each dimension.
ConvolutionSettings checked_settings(const char* op, int ndim, const ConvolutionSettings& given) {
  ConvolutionSettings result = given;
  result.stride = checked_setting(op, "stride", given.stride, ndim, 1);
  result.padding_low = checked_setting(op, "padding", given.padding_low, ndim, -kMostSetting);
  result.padding_high = checked_setting(op, "padding", given.padding_high, ndim, -kMostSetting);
  result.dilation = checked_setting(op, "dilation", given.dilation, ndim, 1);
  result.input_dilation = checked_setting(op, "input_dilation", given.input_dilation, ndim, 1);
  return result;
}

bool are_all(const Shape& numbers, int64_t value) {
  return std::all_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n == value; });
}

array flipped(const array& weight, StreamOrDevice s) {
  Axes axes;
  for (int i = 1; i + 1 < weight.ndim(); ++i) {
    axes.push_back(i);
  }
  return flip(weight, axes, s);
}

// Weights (o, kernel..., c / groups) as (c, kernel..., o / groups): those of the way back.
array exchanged(const array& weight, int groups, StreamOrDevice s) {
  if (groups == 1) {
    return swapaxes(weight, 0, -1, s);
  }
  const array in_groups = unflatten(weight, 0, {groups, weight.shape(0) / groups}, s);
  return flatten(swapaxes(in_groups, 1, -1, s), 0, 1, s);
}

// A convolution of a dilated input with stride 1 is the way back through one whose stride is that
// dilation, for which there is faster code.
array as_input_gradient(
    const ConvolutionSettings& settings,
    const Shape& places,
    const array& input,
    const array& weight,
    StreamOrDevice s) {
  ConvolutionFields fields{};
  fields.op_ = ConvolutionOp::input_gradient;
  fields.stride_ = settings.input_dilation;
  fields.dilation_ = settings.dilation;
  fields.input_dilation_ = settings.stride;
  fields.groups_ = settings.groups;
  fields.size_ = places;
  for (size_t i = 0; i < places.size(); ++i) {
    const int64_t reach = (weight.shape()[i + 1] - 1) * settings.dilation[i];
    fields.padding_low_.push_back(reach - settings.padding_low[i]);
    fields.padding_high_.push_back(reach - settings.padding_high[i]);
  }
  const array ordered = settings.flip ? weight : flipped(weight, s);
  return record_convolution(fields, input, exchanged(ordered, settings.groups, s), s);
}

} // namespace

array convolution(
    const char* op,
    int ndim,
    const array& input,
    const array& weight,
    const ConvolutionSettings& given,
    StreamOrDevice s) {
  check_shapes(op, ndim, input.shape(), weight.shape(), given.groups);
  const Dtype dtype = checked_dtype(op, input, weight);
  const ConvolutionSettings settings = checked_settings(op, ndim, given);
  const Shape places = place_counts(op, settings, input.shape(), weight.shape());
  const array x = astype(input, dtype, s);
  const array w = astype(weight, dtype, s);
  if (are_all(settings.stride, 1) && !are_all(settings.input_dilation, 1) && input.size() > 0) {
    return as_input_gradient(settings, places, x, w, s);
  }
  const ConvolutionFields fields{
      ConvolutionOp::forward,
      settings.stride,
      settings.padding_low,
      settings.padding_high,
      settings.dilation,
      settings.input_dilation,
      settings.groups,
      places};
  return record_convolution(fields, x, settings.flip ? flipped(w, s) : w, s);
}

array conv_general(
    const array& input,
    const array& weight,
    const ConvolutionSettings& settings,
    StreamOrDevice s) {
  return convolution("conv_general", input.ndim() - 2, input, weight, settings, s);
}

array conv_transpose(
    const char* op,
    int ndim,
    const array& input,
    const array& weight,
    const Shape& stride,
    const Shape& padding,
    const Shape& dilation,
    const Shape& output_padding,
    int groups,
    StreamOrDevice s) {
  check_shapes(op, ndim, input.shape(), weight.shape(), groups);
  ConvolutionSettings settings;
  settings.input_dilation = checked_setting(op, "stride", stride, ndim, 1);
  settings.dilation = checked_setting(op, "dilation", dilation, ndim, 1);
  settings.padding_low = checked_setting(op, "padding", padding, ndim, -kMostSetting);
  settings.padding_high = checked_setting(op, "output_padding", output_padding, ndim, 0);
  for (size_t i = 0; i < settings.dilation.size(); ++i) {
    const int64_t reach = checked_multiply(op, weight.shape()[i + 1] - 1, settings.dilation[i]);
    settings.padding_low[i] = reach - settings.padding_low[i];
    settings.padding_high[i] += settings.padding_low[i];
  }
  settings.groups = groups;
  settings.flip = true;
  return convolution(op, ndim, input, weight, settings, s);
}

array convolve(const array& a, const array& v, std::string_view mode, StreamOrDevice s) {
  if (a.ndim() != 1 || v.ndim() != 1 || a.size() == 0 || v.size() == 0) {
    fail<ValueError>(
        "[convolve] arrays of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(v.shape()),
        ", expected vectors that are not empty.");
  }
  const array& longer = a.size() < v.size() ? v : a;
  const array& shorter = a.size() < v.size() ? a : v;
  const int64_t more = shorter.size() - 1;
  ConvolutionSettings settings;
  settings.flip = true;
  if (mode == "full") {
    settings.padding_low = settings.padding_high = {more};
  } else if (mode == "same") {
    settings.padding_low = {more - more / 2};
    settings.padding_high = {more / 2};
  } else if (mode != "valid") {
    fail<ValueError>("[convolve] mode '", mode, "', expected 'full', 'same' or 'valid'.");
  }
  const array result = convolution(
      "convolve", 1, reshape(longer, {1, -1, 1}, s), reshape(shorter, {1, -1, 1}, s), settings, s);
  return reshape(result, {-1}, s);
}

namespace {

// The settings that a row was recorded with, checked against its inputs as a call would be.
array forward_again(const OperationCall& call, const ConvolutionFields& f) {
  const ConvolutionSettings settings{
      f.stride_, f.padding_low_, f.padding_high_, f.dilation_, f.input_dilation_, f.groups_};
  return convolution(
      call.name, call.inputs[0].ndim() - 2, call.inputs[0], call.inputs[1], settings, call.stream);
}

// The gradients: x, w and y have to fit together as those of a convolution do.
array gradient_again(ConvolutionOp op, const OperationCall& call, ConvolutionFields f) {
  f.op_ = op;
  const array& a = call.inputs[0];
  const array& b = call.inputs[1];
  const auto fail_shapes = [&] {
    fail<ValueError>(
        "[",
        call.name,
        "] inputs of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected those of one convolution.");
  };
  const int ndim = f.size_.ndim();
  if (a.ndim() != ndim + 2 || b.ndim() != ndim + 2 || a.dtype() != b.dtype() || f.groups_ < 1) {
    fail_shapes();
  }
  const bool to_input = op == ConvolutionOp::input_gradient;
  const Shape found = convolution_shape(f, a.shape(), b.shape());
  checked_size(call.name, found);
  const Shape& x = to_input ? found : a.shape();
  const Shape& w = to_input ? b.shape() : found;
  const Shape& y = to_input ? a.shape() : b.shape();
  check_shapes(call.name, ndim, x, w, f.groups_);
  checked_dtype(call.name, a, b);
  const ConvolutionSettings settings = checked_settings(
      call.name,
      ndim,
      {f.stride_, f.padding_low_, f.padding_high_, f.dilation_, f.input_dilation_, f.groups_});
  if (with_ends(x[0], place_counts(call.name, settings, x, w), w[0]) != y) {
    fail_shapes();
  }
  f.stride_ = settings.stride;
  f.padding_low_ = settings.padding_low;
  f.padding_high_ = settings.padding_high;
  f.dilation_ = settings.dilation;
  f.input_dilation_ = settings.input_dilation;
  return record_convolution(f, a, b, call.stream);
}

const RecordRow<ConvolutionFields, 2> kConvolutions[] = {
    {"convolution", &forward_again},
    {"convolution_input_gradient",
     [](const OperationCall& call, const ConvolutionFields& f) {
       return gradient_again(ConvolutionOp::input_gradient, call, f);
     }},
    {"convolution_weight_gradient", [](const OperationCall& call, const ConvolutionFields& f) {
       return gradient_again(ConvolutionOp::weight_gradient, call, f);
     }}};

} // namespace

} // namespace narrows
