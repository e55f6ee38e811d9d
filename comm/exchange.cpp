// Buckets and their sums on a communication stream. Host tasks around each sum take the times; traffic is
// read on the same stream at both ends of a step, so a report never mixes two steps.
#include "comm/exchange.h"

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "comm/compress/compression.h"
#include "comm/note.h"
#include "core/error.h"
#include "core/trace.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t bytes_of(Range range) { return range.count * static_cast<std::int64_t>(sizeof(float)); }

class BucketExchange final : public GradientExchange {
 public:
  BucketExchange(const SlotLayout& layout, Collectives& collectives, const ExchangeOptions& options)
      : buckets_(cut_buckets(layout, options.bucket_bytes, options.first_bucket_bytes)),
        count_(layout.stored_count()),
        slots_(static_cast<int>(layout.slots().size())),
        next_(buckets_.size()),
        collectives_(collectives),
        stream_(make_stream(options.device, {.name = "communication"})) {
    if (options.compression.any())
      compression_ = std::make_unique<Compression>(layout, buckets_, collectives, options);
  }

  std::span<const Bucket> buckets() const noexcept override { return buckets_; }
  Stream& stream() noexcept override { return *stream_; }

  void begin(FlatSpan gradients, const StepNumbers& numbers) override {
    const bool halves = gradients.dtype == Dtype::bf16 || gradients.dtype == Dtype::f16;
    if (gradients.count != count_ || !(gradients.dtype == Dtype::f32 || (halves && !compression_))) {
      throw Error(Fault::internal, "gradients of " + std::to_string(gradients.count) + " " +
                                       std::string(name_of(gradients.dtype)) + " elements for a layout of " +
                                       std::to_string(count_) +
                                       (compression_ ? " f32 elements" : " elements"));
    }
    expect_all_started();
    gradients_ = gradients;
    step_ = numbers.step;
    next_ = 0;
    note(*stream_, [this] { start_report(); });
    if (compression_) compression_->begin(numbers, *stream_);
  }

  void complete(int slots, const Event& ready) override {
    if (slots < 0 || slots > slots_) {
      throw Error(Fault::internal,
                  std::to_string(slots) + " complete slots in a layout of " + std::to_string(slots_));
    }
    if (next_ == buckets_.size() || buckets_[next_].last_slot > slots) return;
    stream_->wait(ready);
    for (; next_ < buckets_.size() && buckets_[next_].last_slot <= slots; ++next_) {
      sum(buckets_[next_]);
      if (next_ + 2 == buckets_.size()) all_but_last_ = stream_->record();
    }
  }

  std::int64_t finish_first(Stream& compute) override {
    expect_all_started();
    if (buckets_.size() < 2) return 0;
    compute.wait(all_but_last_);
    return buckets_.back().range.first;
  }

  void finish(Stream& compute) override {
    expect_all_started();
    if (compression_) note(compute, [this] { waited_from_ = Clock::now(); });
    note(*stream_, [this] { end_report(); });
    compute.wait(stream_->record());
    if (compression_) note(compute, [this, step = step_] { report_compression(step); });
  }

  FlatSpan nonfinite() const noexcept override {
    return compression_ ? compression_->nonfinite() : FlatSpan{};
  }
  void settle(const std::int32_t* skip, Stream& compute) override {
    if (compression_) compression_->settle(skip, compute);
  }
  void save(StateWriter& writer) const override {
    if (compression_) compression_->save(writer);
  }
  bool load(const StateReader& reader) override { return !compression_ || compression_->load(reader); }
  void carry(const StateReader& reader) override {
    if (compression_) compression_->carry(reader);
  }
  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t step) const override {
    std::int64_t bytes = 0;
    for (const Bucket& bucket : buckets_) {
      const auto packed = compression_ ? compression_->stated_bytes(bucket, schedule, step) : std::nullopt;
      const Cost cost = schedule.stated_cost(collectives_.rank(), collectives_.size(), bucket.range.count);
      bytes += packed.value_or(cost.elements * static_cast<std::int64_t>(size_of(gradients_.dtype)));
    }
    return bytes;
  }
  std::int64_t exact_steps() const noexcept override {
    return compression_ ? compression_->exact_steps() : 0;
  }
  MomentumKind momentum() const noexcept override {
    return compression_ ? compression_->momentum() : MomentumKind::none;
  }

  bool recordable() const noexcept override { return !compression_ || compression_->plain(); }
  bool recordable_in(std::int64_t step) const noexcept override {
    return !compression_ || compression_->plain_in(step);
  }
  void replayed() override {
    const std::lock_guard lock(mutex_);
    for (BucketReport& bucket : last_.compressed) bucket.sample = nullptr;
  }

  void tell(Trace* trace) noexcept override { trace_ = trace; }
  ExchangeReport report() const override {
    const std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  void expect_all_started() const {
    if (next_ == buckets_.size()) return;
    throw Error(Fault::internal, "bucket " + std::to_string(next_) + " of " +
                                     std::to_string(buckets_.size()) + " was never completed in this step");
  }

  void sum(const Bucket& bucket) {
    const std::string name = trace_ == nullptr ? "" : "bucket " + std::to_string(bucket.index);
    const Trace::Span span(trace_, "communication", name, *stream_,
                           bucket.range.count * static_cast<std::int64_t>(size_of(gradients_.dtype)));
    note(*stream_, [this] { bucket_began_ = Clock::now(); });
    if (!compression_ || !compression_->exchange(bucket, gradients_, *stream_))
      collectives_.sum(gradients_.part(bucket.range.first, bucket.range.count), *stream_, bucket.index);
    note(*stream_, [this] {
      running_.communication_s += std::chrono::duration<double>(Clock::now() - bucket_began_).count();
    });
  }

  // The two below belong to the communication stream.
  void start_report() {
    running_ = {};
    before_ = collectives_.traffic();
  }

  void end_report() {
    const Traffic now = collectives_.traffic();
    running_.wire_bytes = now.bytes - before_.bytes;
    running_.messages = now.messages - before_.messages;
    const std::lock_guard lock(mutex_);
    last_ = running_;
  }

  /// On the compute stream, once it has waited for the communication stream.
  void report_compression(std::int64_t step) {
    compression_->waited_from(std::chrono::duration<double>(waited_from_.time_since_epoch()).count());
    const std::lock_guard lock(mutex_);
    last_.compressed = compression_->reports(step);
  }

  Trace* trace_ = nullptr;
  std::vector<Bucket> buckets_;
  std::int64_t count_;
  int slots_;
  std::size_t next_;  // the first bucket that has not started
  FlatSpan gradients_;
  std::int64_t step_ = 0;  // that is being enqueued
  Event all_but_last_;
  Collectives& collectives_;
  ExchangeReport running_;
  Traffic before_;
  Clock::time_point bucket_began_, waited_from_;
  std::unique_ptr<Compression> compression_;
  mutable std::mutex mutex_;
  ExchangeReport last_;
  std::unique_ptr<Stream> stream_;  // dies first: its tasks use what is above
};

}  // namespace

std::vector<Bucket> cut_buckets(const SlotLayout& layout, std::int64_t bucket_bytes,
                                std::int64_t first_bucket_bytes) {
  std::vector<Bucket> buckets;
  const auto slots = layout.slots();
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    // A slot's gap to the next one travels with it, so that buckets cover the array.
    const std::int64_t end = slot + 1 < slots.size() ? slots[slot + 1].offset : layout.stored_count();
    const Range own{slots[slot].offset, end - slots[slot].offset};
    const std::int64_t limit = buckets.size() <= 1 ? first_bucket_bytes : bucket_bytes;
    if (buckets.empty() || bytes_of(buckets.back().range) + bytes_of(own) > limit) {
      const int first = static_cast<int>(slot);
      buckets.push_back({static_cast<int>(buckets.size()), first, first, {own.first, 0}});
    }
    buckets.back().last_slot = static_cast<int>(slot) + 1;
    buckets.back().range.count += own.count;
  }
  return buckets;
}

std::unique_ptr<GradientExchange> make_exchange(const SlotLayout& layout, Collectives& collectives,
                                                const ExchangeOptions& options) {
  if (options.bucket_bytes < 1 || options.first_bucket_bytes < 1) {
    throw Error(Fault::config, "a gradient bucket of less than one byte", "give positive bucket sizes");
  }
  return std::make_unique<BucketExchange>(layout, collectives, options);
}

}  // namespace lockstep::comm
