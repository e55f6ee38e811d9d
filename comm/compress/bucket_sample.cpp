#include "comm/compress/bucket_sample.h"

#include <cmath>

#include "core/random.h"

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

void compare(const std::vector<float>& truth, const std::vector<float>& seen, BucketReport& report) {
  double product = 0, truth_square = 0, seen_square = 0, error = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double t = truth[i], s = seen[i];
    product += t * s;
    truth_square += t * t;
    seen_square += s * s;
    error += (s - t) * (s - t);
  }
  report.sampled = truth_square > 0;
  report.relative_error = std::sqrt(error / truth_square);
  report.cosine = seen_square > 0 ? product / std::sqrt(truth_square * seen_square) : 0;
}

}  // namespace

void BucketSample::take(const Group& group, FlatSpan gradients, Collectives& collectives, Stream& stream) {
  if (places_.span.count == 0) {
    places_ = make_array(stream.device(), Dtype::i32, kSample);
    truth_ = make_array(stream.device(), Dtype::f32, kSample);
    seen_ = make_array(stream.device(), Dtype::f32, kSample);
    copy_from_host(sample_places(group).data(), places_.span);
  }
  compress_kernels(stream.device()).pick(gradients, places_.span, truth_.span, stream);
  collectives.sum(truth_.span, stream);
}

void BucketSample::judge(FlatSpan gradients, BucketReport& report, Stream& stream) {
  compress_kernels(stream.device()).pick(gradients, places_.span, seen_.span, stream);
  stream.host([this, &report] {
    std::vector<float> truth(kSample), seen(kSample);
    copy_to_host(truth_.span, truth.data());
    copy_to_host(seen_.span, seen.data());
    compare(truth, seen, report);
  });
}

}  // namespace lockstep::comm
