#include "data/sampler.h"

#include <algorithm>
#include <bit>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "core/random.h"

namespace lockstep::data {
namespace {

/// Smallest half width: a permutation of few values still gets a network that mixes.
constexpr int kLeastHalfBits = 4;

constexpr std::uint64_t scramble(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

EpochOrder::EpochOrder(std::uint64_t seed, std::int64_t epoch, std::int64_t size)
    : size_(static_cast<std::uint64_t>(size)) {
  const RandomSource random(seed, "epoch order", static_cast<std::uint64_t>(epoch));
  for (std::size_t round = 0; round < keys_.size(); ++round) {
    const auto words = random.block(round);
    keys_[round] = static_cast<std::uint64_t>(words[0]) << 32 | words[1];
  }
  const auto bits = static_cast<int>(std::bit_width(size_ > 0 ? size_ - 1 : 0));
  half_bits_ = std::max(kLeastHalfBits, (bits + 1) / 2);
}

std::uint64_t EpochOrder::encrypt(std::uint64_t value) const noexcept {
  const std::uint64_t mask = (1ULL << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (const std::uint64_t key : keys_) {
    const std::uint64_t next = left ^ (scramble(right + key) & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

// The network permutes a power of four at least as large as `size`; walking its cycle until the value is
// small enough permutes [0, size).
std::int64_t EpochOrder::operator()(std::int64_t position) const noexcept {
  auto value = static_cast<std::uint64_t>(position);
  do {
    value = encrypt(value);
  } while (value >= size_);
  return static_cast<std::int64_t>(value);
}

Shard shard_of(int rank, int ranks, std::int64_t microbatches_per_step) {
  if (ranks < 1 || rank < 0 || rank >= ranks) {
    throw Error(Fault::internal, fmt::format("shard of rank {} of {}", rank, ranks));
  }
  if (microbatches_per_step < ranks) {
    throw Error(Fault::config,
                fmt::format("{} ranks cannot share {} microbatches a step", ranks, microbatches_per_step),
                "use fewer ranks, a larger global batch, or a smaller microbatch");
  }
  const std::int64_t each = microbatches_per_step / ranks;
  const std::int64_t more = microbatches_per_step % ranks;
  return {.first = rank * each + std::min<std::int64_t>(rank, more),
          .count = each + (rank < more ? 1 : 0),
          .per_step = microbatches_per_step,
          .rank = rank,
          .ranks = ranks};
}

std::int64_t steps_of(std::int64_t samples, std::int64_t per_step, Tail tail) {
  return tail == Tail::drop ? samples / per_step : (samples + per_step - 1) / per_step;
}

std::int64_t Sampler::per_step() const noexcept {
  return options_.microbatch * (options_.local ? options_.shard.count : options_.shard.per_step);
}

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  if (options.microbatch < 1 || options.shard.count < 1) {
    throw Error(Fault::config, fmt::format("a shard of {} microbatches of {} samples", options.shard.count,
                                           options.microbatch));
  }
  const Tail tail = options.train ? options.tail : Tail::wrap;
  steps_ = options.steps > 0 ? options.steps : steps_of(options.samples, per_step(), tail);
  if (steps_ < 1 || options.samples < 1) {
    throw Error(Fault::config,
                fmt::format("a step takes {} samples, but there are only {}", per_step(), options.samples),
                "use fewer ranks, a smaller batch, or `data.tail: wrap`");
  }
}

Pick Sampler::pick(std::int64_t step, std::int64_t j) const {
  const std::int64_t m = options_.microbatch;
  const std::int64_t local_j = options_.local ? j - options_.shard.first : j;
  const std::int64_t epoch = options_.train ? step / steps_ : 0;                  // an evaluation is one pass
  const std::int64_t first = (step - epoch * steps_) * per_step() + local_j * m;  // position in the epoch
  const std::int64_t samples = options_.samples;
  Pick pick;
  pick.epoch = epoch;
  pick.first_position = (step * options_.shard.per_step + j) * m;
  pick.rows = options_.train ? m : std::clamp<std::int64_t>(samples - first, 0, m);
  pick.samples.resize(static_cast<std::size_t>(m));
  const std::uint64_t own = options_.local ? static_cast<std::uint64_t>(options_.begin) : 0;
  const EpochOrder order(options_.seed + own, pick.epoch, samples);
  for (std::int64_t row = 0; row < m; ++row) {
    const std::int64_t position = first + row;
    const std::int64_t wrapped = position % samples;
    const std::int64_t sample = !options_.train    ? std::min(position, samples - 1)
                                : options_.shuffle ? order(wrapped)
                                                   : wrapped;
    pick.samples[static_cast<std::size_t>(row)] = options_.begin + sample;
  }
  return pick;
}

std::string Sampler::tail_note() const {
  if (!options_.train) return {};
  const std::int64_t dealt = steps_ * per_step();
  if (dealt < options_.samples) {
    return fmt::format("{} of {} samples, {} each epoch, are left out because they fill no step",
                       options_.samples - dealt, options_.samples,
                       options_.shuffle ? "other ones" : "the same ones");
  }
  if (dealt > options_.samples) {
    return fmt::format("{} samples are seen twice an epoch to fill the last step", dealt - options_.samples);
  }
  return {};
}

}  // namespace lockstep::data
