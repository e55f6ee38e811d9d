#include "models/ops/cuda/convolution_plans.h"

#include <algorithm>
#include <variant>

namespace lockstep::models::cuda {
namespace {

constexpr double kBytesPerMs = 2.5e9;  // of the GPU's memory, for guesses that a factor of two does not upset

/// An image that is only fed, with few channels, in 16 bits.
bool worth_folding(const Site& site, const ConvolutionSettings& settings) {
  const ConvolutionGeometry& g = settings.geometry;
  const bool fed = !settings.transposed && !site.wants_input_gradient();
  const bool small = g.image[1] < 8 && g.stride[0] <= 4 && g.stride[1] <= 4;
  return fed && small && g.groups == 1 && g.dilation == Pair{1, 1} && site.options.compute != Dtype::f32 &&
         folded(g).image.count() < INT32_MAX;
}

/// What reading the image and writing the folded one costs.
double folding_ms(const ConvolutionGeometry& g) {
  return static_cast<double>(g.image.count() + folded(g).image.count()) * 2 / kBytesPerMs;
}

}  // namespace

ConvolutionSettings convolution_settings(const Site& site) {
  const Shape &input = site.input(), &output = site.output();
  if (const auto* c = std::get_if<Conv2d>(&site.request.node->spec))
    return {{input, output, c->kernel, c->stride, c->padding, c->dilation, c->groups}, c->bias, false};
  const auto& c = std::get<ConvTranspose2d>(site.request.node->spec);
  return {{output, input, c.kernel, c.stride, c.padding, c.dilation, c.groups}, c.bias, true};
}

ConvolutionPlans::ConvolutionPlans(const Site& site, const ConvolutionSettings& settings)
    : geometry(settings.geometry),
      request_{.geometry = settings.geometry,
               .dtype = site.options.compute,
               .written = site.options.compute,
               .tf32 = site.options.tf32,
               .tune = site.options.tune,
               .repeatable = site.options.repeatable,
               .device = site.options.device},
      gradients_(site.options.gradients) {
  const auto ahead = settings.transposed ? Direction::image_gradient : Direction::forward;
  const auto back = settings.transposed ? Direction::forward : Direction::image_gradient;
  forward = find(ahead);
  if (!site.request.training) return;
  choose_weight_gradient();
  if (!site.wants_input_gradient()) return;
  input_gradient = find(back);
  choose_adding(back);
}

std::size_t ConvolutionPlans::workspace_bytes() const {
  std::size_t most = 0;
  for (const auto* plan : {&forward, &input_gradient, &weight_gradient, &adding})
    if (*plan != nullptr) most = std::max(most, (*plan)->workspace_bytes());
  return most;
}

double ConvolutionPlans::measured_ms() const {
  double sum = 0;
  for (const auto* plan : {&forward, &input_gradient, &weight_gradient})
    if (*plan != nullptr) sum += (*plan)->measured_ms();
  return sum;
}

ConvolutionPlanPtr ConvolutionPlans::find(Direction direction) const {
  ConvolutionRequest request = request_;
  request.direction = direction;
  if (auto plan = cudnn_convolution(request)) return plan;
  return direct_convolution(request);
}

/// In the dtype of the gradient array where the library does that; in the other one and converted where it
/// does not, or where that is measured to be faster.
void ConvolutionPlans::choose_weight_gradient() {
  ConvolutionRequest request = request_;
  request.direction = Direction::weight_gradient;
  request.written = Dtype::f32;
  const ConvolutionPlanPtr wide = cudnn_convolution(request);
  request.written = request.dtype;
  const ConvolutionPlanPtr narrow = request.dtype == Dtype::f32 ? nullptr : cudnn_convolution(request);
  const bool prefers_narrow = gradients_ == request.dtype;
  const double ahead = prefers_narrow ? -converting_ms() : converting_ms();  // what f32 saves
  const auto beats_wide = [&] {
    const double narrow_ms = narrow->measured_ms() + ahead, wide_ms = wide->measured_ms();
    return prefers_narrow ? narrow_ms <= wide_ms : narrow_ms < wide_ms;
  };
  if (narrow != nullptr && (wide == nullptr || beats_wide())) {
    weight_gradient = narrow;
    weight_gradient_dtype = request.dtype;
    return;
  }
  request.written = Dtype::f32;
  weight_gradient = wide != nullptr ? wide : direct_convolution(request);
}
/// About what another kernel and its traffic cost; 0 when nothing is measured, so that the array's dtype
/// wins.
double ConvolutionPlans::converting_ms() const {
  constexpr double kLaunch = 2e-3, kPerElement = 6 / kBytesPerMs;
  return request_.tune ? kLaunch + kPerElement * static_cast<double>(request_.geometry.weight().count()) : 0;
}

void ConvolutionPlans::choose_adding(Direction direction) {
  ConvolutionRequest request = request_;
  request.direction = direction;
  request.add = true;
  adding = cudnn_convolution(request);
  // Summing afterwards reads two gradients and writes one.
  const Shape& written = direction == Direction::forward ? request.geometry.result : request.geometry.image;
  const double apart = input_gradient->measured_ms() + static_cast<double>(written.count()) * 3 *
                                                           static_cast<double>(size_of(request.dtype)) /
                                                           kBytesPerMs;
  if (adding != nullptr && request.tune && adding->measured_ms() > apart) adding = nullptr;
}

ConvolutionPlans choose_plans(const Site& site, const ConvolutionSettings& settings) {
  if (!worth_folding(site, settings)) return {site, settings};
  ConvolutionPlans plans(site, {folded(settings.geometry), settings.bias, false});
  plans.folding = folding_of(settings.geometry);
  if (!site.options.tune) return plans;
  ConvolutionPlans plain(site, settings);
  return plain.measured_ms() < plans.measured_ms() + folding_ms(settings.geometry) ? plain : plans;
}

}  // namespace lockstep::models::cuda
