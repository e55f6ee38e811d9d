#include "comm/compress/compression.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "comm/compress/rules.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::int64_t kSample =
    1024;  // elements a bucket is judged by: 4 KiB, and errors of a few percent show

/// Element indices of the flat array to look at: random, but the same on every rank and in every step.
std::vector<std::int32_t> sample_places(const Group& group) {
  const RandomSource source(0, "compression sample", static_cast<std::uint64_t>(group.bucket));
  std::vector<std::int32_t> places;
  for (std::int64_t i = 0; i < kSample; ++i) {
    const Piece& piece = group.pieces[static_cast<std::size_t>(i) % group.pieces.size()];
    places.push_back(static_cast<std::int32_t>(
        piece.slot->offset +
        static_cast<std::int64_t>(source.below(static_cast<std::uint64_t>(i),
                                               static_cast<std::uint64_t>(piece.slot->stored_count)))));
  }
  return places;
}

}  // namespace

/// One bucket: its groups, and the slots that are summed exactly.
struct Compression::Entry {
  std::vector<std::unique_ptr<Compressor>> groups;
  std::vector<const Slot*> exact;
  FlatArray exact_values;         ///< the exact slots, one behind the other
  FlatArray exact_momentum;       ///< of the same, where compressors replace the optimizer's momentum
  FlatArray places, truth, seen;  ///< of the sample
  BucketReport report;
  std::int64_t traffic_before = 0;
  double began_s = 0, ended_s = 0;
};

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
                                  .momentum = options_.momentum,
                                  .exact_steps = options_.exact_steps,
                                  .verdict = verdict_};
  const auto& row = compressors().row(name);
  const Options settings = options_.settings ? options_.settings(name) : Options::of(row.settings);
  auto compressor = compressors().create(name, settings, context);
  const bool largest = entry.groups.empty() || context.group.count > entry.groups.front()->group().count;
  if (largest) entry.report.compressor = name;
  entry.report.bucket = bucket.index;
  entry.report.dense_bytes = bucket.range.count * static_cast<std::int64_t>(sizeof(float));
  entry.groups.insert(largest ? entry.groups.begin() : entry.groups.end(), std::move(compressor));
}

void Compression::begin(const StepNumbers& numbers, Stream& stream) {
  numbers_ = numbers;
  stream.host([count = nonfinite_.span] { *static_cast<std::int64_t*>(count.data) = 0; });
}

bool Compression::exchange(const Bucket& bucket, FlatSpan gradients, Stream& stream) {
  const auto shared = entries_[static_cast<std::size_t>(bucket.index)];
  Entry& entry = *shared;
  if (entry.groups.empty()) return false;
  stream.host([this, &entry] {
    entry.began_s = now_s();
    entry.report.times = {};
    entry.report.sampled = false;
    entry.traffic_before = collectives_.traffic().bytes;
  });
  const bool sampled = options_.sample_every > 0 && numbers_.step % options_.sample_every == 0;
  if (sampled) take_sample(entry, gradients, stream);
  sum_exact(entry, bucket.index, gradients, stream);
  for (const auto& group : entry.groups)
    group->exchange(gradients, scratch_.span, numbers_, nonfinite_.span, collectives_, stream);
  if (sampled) judge_sample(entry, gradients, stream);
  stream.host([this, &entry] {
    entry.ended_s = now_s();
    entry.report.wire_bytes = collectives_.traffic().bytes - entry.traffic_before;
    for (const auto& group : entry.groups) {
      entry.report.times.encode_s += group->times().encode_s;
      entry.report.times.wire_s += group->times().wire_s;
      entry.report.times.decode_s += group->times().decode_s;
    }
  });
  return true;
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
  copy(false);
}

/// The true sum of the sampled elements.
void Compression::take_sample(Entry& entry, FlatSpan gradients, Stream& stream) {
  if (entry.places.span.count == 0) {
    const std::vector<std::int32_t> places = sample_places(entry.groups.front()->group());
    entry.places = make_array(stream.device(), Dtype::i32, kSample);
    entry.truth = make_array(stream.device(), Dtype::f32, kSample);
    entry.seen = make_array(stream.device(), Dtype::f32, kSample);
    copy_from_host(places.data(), entry.places.span);
  }
  compress_kernels(stream.device()).pick(gradients, entry.places.span, entry.truth.span, stream);
  collectives_.sum(entry.truth.span, stream);
  // The sample is a measurement: its bytes are not the exchange's.
  stream.host([this, &entry] { entry.traffic_before = collectives_.traffic().bytes; });
}

void Compression::judge_sample(Entry& entry, FlatSpan gradients, Stream& stream) {
  compress_kernels(stream.device()).pick(gradients, entry.places.span, entry.seen.span, stream);
  stream.host([this, &entry] {
    std::vector<float> truth(kSample);
    std::vector<float> seen(kSample);
    copy_to_host(entry.truth.span, truth.data());
    copy_to_host(entry.seen.span, seen.data());
    double product = 0, truth_square = 0, seen_square = 0, error = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const double t = truth[i], s = seen[i];
      product += t * s;
      truth_square += t * t;
      seen_square += s * s;
      error += (s - t) * (s - t);
    }
    entry.report.sampled = truth_square > 0;
    entry.report.relative_error = std::sqrt(error / truth_square);
    entry.report.cosine = seen_square > 0 ? product / std::sqrt(truth_square * seen_square) : 0;
    entry.report.residual_norm = residual_norm(entry);
  });
}

double Compression::residual_norm(const Entry& entry) {
  double squares = 0;
  for (const auto& group : entry.groups) {
    const FlatSpan residual = group->latest_residual();
    if (residual.count == 0) continue;
    std::vector<float> values(static_cast<std::size_t>(residual.count));
    copy_to_host(residual, values.data());
    for (float x : values) squares += static_cast<double>(x) * static_cast<double>(x);
  }
  return std::sqrt(squares);
}

void Compression::settle(const std::int32_t* skip, Stream& stream) {
  stream.host(
      [skip, verdict = verdict_] { *static_cast<std::int32_t*>(verdict->span.data) = *skip == 0 ? 1 : 0; });
}

void Compression::waited_from(double began_s) {
  for (const auto& entry : entries_)
    entry->report.exposed_s = std::max(0.0, entry->ended_s - std::max(began_s, entry->began_s));
}

std::vector<BucketReport> Compression::reports() const {
  std::vector<BucketReport> reports;
  for (const auto& entry : entries_) {
    if (!entry->groups.empty()) reports.push_back(entry->report);
  }
  return reports;
}

bool Compression::replaces_momentum() const noexcept {
  return std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) {
    return std::any_of(entry->groups.begin(), entry->groups.end(),
                       [](const auto& group) { return group->replaces_momentum(); });
  });
}

std::optional<std::int64_t> Compression::stated_bytes(const Bucket& bucket, const Schedule& schedule) const {
  const Entry& entry = *entries_[static_cast<std::size_t>(bucket.index)];
  if (entry.groups.empty()) return std::nullopt;
  const Cost exact =
      schedule.stated_cost(collectives_.rank(), collectives_.size(), entry.exact_values.span.count);
  std::int64_t bytes = exact.elements * static_cast<std::int64_t>(sizeof(float));
  for (const auto& group : entry.groups) bytes += group->stated_bytes(schedule);
  return bytes;
}

/// Equal for equal ranks and groups: only then do owners' chunks mean the same.
std::string Compression::signature() const {
  std::string text = std::to_string(collectives_.size());
  for (const auto& entry : entries_) {
    text += "|" + entry->report.compressor;
    for (const auto& group : entry->groups) {
      text += ";";
      for (const Piece& piece : group->group().pieces) text += piece.slot->name + ",";
    }
  }
  return hash_text(name_hash(text));
}

void Compression::save(StateWriter& writer) const {
  writer.text("groups", signature());
  writer.integer("ranks", collectives_.size());
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->save(writer);
  }
}

bool Compression::load(const StateReader& reader) {
  if (!reader.has("groups") || reader.text("groups") != signature()) return false;
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->load(reader);
  }
  return true;
}

void Compression::carry(const StateReader& reader) {
  if (!reader.has("ranks")) return;
  const float share = 1.0f / static_cast<float>(reader.integer("ranks"));
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->carry(reader, share);
  }
}

}  // namespace lockstep::comm
