#include "comm/compress/bucket_sample.h"

#include <cmath>
#include <numeric>
#include <span>

#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kSample = 1024;  // 4 KiB, and errors of a few percent show

/// Element indices of the flat array to look at: random, but the same on every rank and in every step.
std::vector<std::int32_t> sample_places(const Group& group) {
  const RandomSource source(0, "compression sample", static_cast<std::uint64_t>(group.bucket));
  std::vector<std::int32_t> places;
  for (std::int64_t i = 0; i < kSample; ++i) {
    const Slot& slot = *group.pieces[static_cast<std::size_t>(i) % group.pieces.size()].slot;
    const std::uint64_t offset =
        source.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(slot.stored_count));
    places.push_back(static_cast<std::int32_t>(slot.offset + static_cast<std::int64_t>(offset)));
  }
  return places;
}

void compare(std::span<const float> truth, std::span<const float> seen, SampleReport& report) {
  double product = 0, truth_square = 0, seen_square = 0, error = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double t = truth[i], s = seen[i];
    product += t * s;
    truth_square += t * t;
    seen_square += s * s;
    error += (s - t) * (s - t);
  }
  report.holds = truth_square > 0;
  report.relative_error = std::sqrt(error / truth_square);
  report.cosine = seen_square > 0 ? product / std::sqrt(truth_square * seen_square) : 0;
}

}  // namespace

void BucketSample::make_room(const Group& group, Device device) {
  places_ = make_array(device, Dtype::i32, kSample);
  truth_ = make_array(device, Dtype::f32, kSample);
  seen_ = make_array(device, Dtype::f32, kSample);
  copy_from_host(sample_places(group).data(), places_.span);
}

void BucketSample::take(const Group& group, FlatSpan gradients, Collectives& collectives, Stream& stream) {
  if (places_.span.count == 0) make_room(group, stream.device());
  compress_kernels(stream.device()).pick(gradients, places_.span, truth_.span, stream);
  collectives.sum(truth_.span, stream);
}

std::shared_ptr<const SampleReport> BucketSample::judge(FlatSpan gradients,
                                                        const std::vector<FlatSpan>& residuals,
                                                        Stream& stream) {
  while (squares_.size() < residuals.size()) squares_.push_back(make_array(stream.device(), Dtype::f64, 1));
  if (staging_.bytes() == 0)
    staging_ = allocate_staging(stream.device(), 2 * truth_.span.bytes() + residuals.size() * sizeof(double));
  const FlatSpan truth = staging_.view(Dtype::f32, kSample);
  const FlatSpan seen = staging_.view(Dtype::f32, kSample, truth.bytes());
  const FlatSpan squares =
      staging_.view(Dtype::f64, static_cast<std::int64_t>(residuals.size()), 2 * truth.bytes());
  compress_kernels(stream.device()).pick(gradients, places_.span, seen_.span, stream);
  copy(truth_.span, truth, stream);
  copy(seen_.span, seen, stream);
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    vector::sum_of_squares(residuals[i], squares_[i].span, stream);
    copy(squares_[i].span, squares.part(static_cast<std::int64_t>(i), 1), stream);
  }
  auto report = std::make_shared<SampleReport>();
  stream.host([truth, seen, squares, report] {
    compare(truth.as<float>(), seen.as<float>(), *report);
    const auto each = squares.as<double>();
    report->residual_norm = std::sqrt(std::accumulate(each.begin(), each.end(), 0.0));
  });
  return report;
}

}  // namespace lockstep::comm
