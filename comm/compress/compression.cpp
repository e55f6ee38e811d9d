#include <algorithm>
#include <chrono>
#include <set>

#include "comm/compress/compression_entry.h"
#include "comm/compress/rules.h"
#include "comm/note.h"
#include "core/error.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

// A fifth of a training is exact: the authors of 1-bit Adam use 15-20 %, and docs/compression.md tells what
// fewer steps cost.
constexpr std::int64_t kExactPart = 5;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Compression::Compression(const SlotLayout& layout, std::span<const Bucket> buckets, Collectives& collectives,
                         const ExchangeOptions& options)
    : layout_(layout),
      collectives_(collectives),
      options_(options.compression),
      verdict_(std::make_shared<FlatArray>(make_array(options.device, Dtype::i32, 1))),
      nonfinite_(make_array(options.device, Dtype::i64, 1)) {
  const SlotRules rules(options_);
  std::int64_t largest = 0;
  for (const Bucket& bucket : buckets) {
    auto entry = std::make_shared<Entry>();
    const auto slots =
        layout_.slots().subspan(static_cast<std::size_t>(bucket.first_slot),
                                static_cast<std::size_t>(bucket.last_slot - bucket.first_slot));
    for (const auto& [name, members] : rules.deal(slots))
      add_group(*entry, bucket, name, members, options.device);
    for (const auto& group : entry->groups) largest = std::max(largest, group->group().count);
    entries_.push_back(std::move(entry));
  }
  scratch_ = make_array(options.device, Dtype::f32, 2 * largest);
  find_momentum();
  find_start();
}

/// Momentum is a matter of the whole model: where one compressor carries it, all must, and exact sums too.
void Compression::find_momentum() {
  std::set<MomentumKind> kinds;
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) kinds.insert(group->momentum());
  }
  if (kinds.size() > 1) {
    throw Error(Fault::config, "compressors with and without their own momentum are mixed",
                "let compress.rules choose only 'none' beside dgc or onebit_adam, or set "
                "momentum of sign_vote and ef_sign to false");
  }
  if (kinds.empty() || *kinds.begin() == MomentumKind::none) return;
  momentum_ = *kinds.begin();
  for (const auto& entry : entries_) {
    if (const std::int64_t count = entry->exact_values.span.count; count > 0)
      entry->exact_momentum = Remembered(verdict_, Dtype::f32, count);
  }
}

/// The longest that any compressor asks for: a step is exact for all or for none.
void Compression::find_start() {
  const auto wanted = [this](Start start) -> std::int64_t {
    if (start == Start::own) return 0;
    if (options_.exact_steps != kExactStart) return options_.exact_steps;
    if (start == Start::at_once) return 0;
    return std::max<std::int64_t>(options_.steps / kExactPart, start == Start::measured ? 1 : 0);
  };
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) exact_steps_ = std::max(exact_steps_, wanted(group->start()));
  }
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->begin_with(exact_steps_);
  }
}

/// Slots that one compressor sends, or exact ones.
void Compression::add_group(Entry& entry, const Bucket& bucket, const std::string& name,
                            const std::vector<const Slot*>& slots, Device device) {
  if (name == "none") {
    entry.exact = slots;
    std::int64_t count = 0;
    for (const Slot* slot : slots) count += slot->stored_count;
    entry.exact_values = make_array(device, Dtype::f32, count);
    return;
  }
  const CompressorContext context{.group = make_group(bucket.index, slots),
                                  .rank = collectives_.rank(),
                                  .ranks = collectives_.size(),
                                  .device = device,
                                  .seed = options_.seed,
                                  .momentum_kind = options_.momentum_kind,
                                  .momentum = options_.momentum,
                                  .nesterov = options_.nesterov,
                                  .verdict = verdict_,
                                  .mapped = collectives_.mapped_memory()};
  const auto& row = compressors().row(name);
  const Options settings = options_.settings ? options_.settings(name) : Options::of(row.settings);
  auto compressor = compressors().create(name, settings, context);
  const bool largest = entry.groups.empty() || context.group.count > entry.groups.front()->group().count;
  if (largest) entry.report.compressor = name;
  entry.report.bucket = bucket.index;
  entry.report.dense_bytes = bucket.range.count * static_cast<std::int64_t>(sizeof(float));
  entry.groups.insert(largest ? entry.groups.begin() : entry.groups.end(), std::move(compressor));
}

bool Compression::starts_exactly(std::int64_t step) const noexcept {
  return momentum_ == MomentumKind::none && step < exact_steps_;
}

/// As the compressors with momentum have it.
bool Compression::is_exact(std::int64_t step) const noexcept {
  return step < exact_steps_ || (momentum_ == MomentumKind::refreshed && refreshes(step - exact_steps_));
}

bool Compression::samples(std::int64_t step) const noexcept {
  return options_.sample_every > 0 && (step + 1) % options_.sample_every == 0;
}

bool Compression::plain() const noexcept {
  return std::all_of(entries_.begin(), entries_.end(), [](const auto& entry) {
    return std::all_of(entry->groups.begin(), entry->groups.end(),
                       [](const auto& group) { return group->plain(); });
  });
}

/// The first step that is not exact may still make its memory.
bool Compression::plain_in(std::int64_t step) const noexcept {
  return plain() && !samples(step) && (exact_steps_ == 0 || step > exact_steps_);
}

void Compression::begin(const StepNumbers& numbers, Stream& stream) {
  numbers_ = numbers;
  vector::fill(nonfinite_.span, 0, stream);
}

bool Compression::exchange(const Bucket& bucket, FlatSpan gradients, Stream& stream) {
  const auto shared = entries_[static_cast<std::size_t>(bucket.index)];
  Entry& entry = *shared;
  if (starts_exactly(numbers_.step)) return false;
  if (entry.groups.empty() && momentum_ == MomentumKind::none) return false;
  note(stream, [this, &entry] {
    entry.began_s = now_s();
    entry.report.times = {};
    entry.report.sample = nullptr;
    entry.traffic_before = collectives_.traffic().bytes;
  });
  const bool sampled = !entry.groups.empty() && samples(numbers_.step);
  if (sampled) {
    entry.sample.take(entry.groups.front()->group(), gradients, collectives_, stream);
    // The sample is a measurement: its bytes are not the exchange's.
    note(stream, [this, &entry] { entry.traffic_before = collectives_.traffic().bytes; });
  }
  sum_exact(entry, bucket.index, gradients, stream);
  for (const auto& group : entry.groups)
    group->exchange(gradients, scratch_.span, numbers_, nonfinite_.span, collectives_, stream);
  if (sampled) judge_sample(entry, gradients, stream);
  note(stream, [this, &entry] { finish_report(entry); });
  return true;
}

void Compression::judge_sample(Entry& entry, FlatSpan gradients, Stream& stream) {
  std::vector<FlatSpan> residuals;
  for (const auto& group : entry.groups) {
    if (group->latest_residual().count > 0) residuals.push_back(group->latest_residual());
  }
  note(stream,
       [&entry, sample = entry.sample.judge(gradients, residuals, stream)] { entry.report.sample = sample; });
}

void Compression::finish_report(Entry& entry) const {
  entry.ended_s = now_s();
  entry.report.wire_bytes = collectives_.traffic().bytes - entry.traffic_before;
  if (nonfinite_.span.device.kind != DeviceKind::cpu) return;
  for (const auto& group : entry.groups) {
    const PhaseTimes times = group->times();
    entry.report.times.encode_s += times.encode_s;
    entry.report.times.wire_s += times.wire_s;
    entry.report.times.decode_s += times.decode_s;
  }
}

/// Small slots travel together, so that they cost one message where each would cost its own.
void Compression::sum_exact(Entry& entry, int bucket, FlatSpan gradients, Stream& stream) {
  const Kernels& kernels = compress_kernels(stream.device());
  const FlatSpan values = entry.exact_values.span;
  const auto copy = [&](bool in) {
    std::int64_t at = 0;
    for (const Slot* slot : entry.exact) {
      const FlatSpan own = gradients.part(slot->offset, slot->stored_count);
      const FlatSpan packed = values.part(at, slot->stored_count);
      kernels.scaled(in ? own : packed, in ? packed : own, 1, {}, stream);
      at += slot->stored_count;
    }
  };
  if (values.count == 0) return;
  copy(true);
  collectives_.sum(values, stream, bucket);
  if (momentum_ != MomentumKind::none) give_momentum(entry, stream);
  copy(false);
}

/// As the compressors do it for their slots.
void Compression::give_momentum(Entry& entry, Stream& stream) {
  entry.exact_momentum.settle(stream);
  const FlatSpan u = entry.exact_momentum.current();
  const FlatSpan g = entry.exact_values.span;
  const float m = options_.momentum;
  vector::scale(m, u, stream);
  const bool heavy_ball = momentum_ == MomentumKind::heavy_ball;
  vector::axpy(heavy_ball ? 1.0f : 1 - m, g, u, stream);
  if (!heavy_ball && is_exact(numbers_.step)) return;
  if (heavy_ball && options_.nesterov) {
    vector::axpy(m, u, g, stream);
  } else {
    vector::cast(u, g, stream);
  }
}

void Compression::settle(const std::int32_t* skip, Stream& stream) {
  compress_kernels(stream.device()).accept(skip, verdict_->span, stream);
}

void Compression::waited_from(double began_s) {
  for (const auto& entry : entries_)
    entry->report.exposed_s = std::max(0.0, entry->ended_s - std::max(began_s, entry->began_s));
}

std::vector<BucketReport> Compression::reports(std::int64_t step) const {
  std::vector<BucketReport> reports;
  if (starts_exactly(step)) return reports;
  for (const auto& entry : entries_) {
    if (!entry->groups.empty()) reports.push_back(entry->report);
  }
  return reports;
}

std::optional<std::int64_t> Compression::stated_bytes(const Bucket& bucket, const Schedule& schedule,
                                                      std::int64_t step) const {
  const Entry& entry = *entries_[static_cast<std::size_t>(bucket.index)];
  if (starts_exactly(step)) return std::nullopt;
  if (entry.groups.empty() && momentum_ == MomentumKind::none) return std::nullopt;
  const Cost exact =
      schedule.stated_cost(collectives_.rank(), collectives_.size(), entry.exact_values.span.count);
  std::int64_t bytes = exact.elements * static_cast<std::int64_t>(sizeof(float));
  for (const auto& group : entry.groups) bytes += group->stated_bytes(schedule, step);
  return bytes;
}

}  // namespace lockstep::comm
