#include "models/ops/cuda/convolution_plans.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <variant>

namespace lockstep::models::cuda {
namespace {

constexpr double kBytesPerMs = 2.5e9;  // of the GPU's memory, for guesses that a factor of two does not upset

/// Channels to choose from: the image's own, and next multiples for an image that is only fed.
std::vector<std::int64_t> channel_choices(const Site& site, const ConvolutionSettings& settings) {
  const std::int64_t channels = settings.geometry.image[1];
  const bool fed = !settings.transposed && !site.wants_input_gradient();
  if (!fed || settings.geometry.groups != 1 || site.options.compute == Dtype::f32 || channels >= 8)
    return {channels};
  if (!site.options.tune) return {8};
  return channels < 4 ? std::vector<std::int64_t>{channels, 4, 8} : std::vector<std::int64_t>{channels, 8};
}

/// What writing and reading the padded image costs.
double padding_ms(const Shape& image, std::int64_t channels) {
  if (channels == image[1]) return 0;
  const double pixels = static_cast<double>(image.count() / image[1]);
  return pixels * static_cast<double>(image[1] + channels) * 2 / kBytesPerMs;
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
               .device = site.options.device} {
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

/// In f32 where the library does that; in the compute dtype and widened where it does not, or where that is
/// measured to be faster.
void ConvolutionPlans::choose_weight_gradient() {
  ConvolutionRequest request = request_;
  request.direction = Direction::weight_gradient;
  request.written = Dtype::f32;
  const ConvolutionPlanPtr wide = cudnn_convolution(request);
  request.written = request.dtype;
  const ConvolutionPlanPtr narrow = request.dtype == Dtype::f32 ? nullptr : cudnn_convolution(request);
  if (narrow != nullptr && (wide == nullptr || narrow->measured_ms() + widening_ms() < wide->measured_ms())) {
    weight_gradient = narrow;
    weight_gradient_dtype = request.dtype;
    return;
  }
  request.written = Dtype::f32;
  weight_gradient = wide != nullptr ? wide : direct_convolution(request);
}
/// About what another kernel and its traffic cost; 0 when nothing is measured, so that f32 wins.
double ConvolutionPlans::widening_ms() const {
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
  std::optional<ConvolutionPlans> best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::int64_t channels : channel_choices(site, settings)) {
    ConvolutionSettings padded = settings;
    const Shape& image = settings.geometry.image;
    padded.geometry.image = {image[0], channels, image[2], image[3]};
    ConvolutionPlans plans(site, padded);
    const double ms = plans.measured_ms() + padding_ms(image, channels);
    if (ms >= least) continue;
    least = ms;
    best = std::move(plans);
  }
  return std::move(*best);
}

}  // namespace lockstep::models::cuda
