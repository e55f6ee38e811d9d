// The loader: worker threads claim microbatches in order, fill slots of a ring, and next() waits for the slot
// of its turn. A slot is filled again only `keep` calls after it was handed out.
#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/assemble.h"
#include "data/sampler.h"

namespace lockstep::data {
namespace {

/// Samples [begin, begin + count) belong to the files of one rank.
struct OwnRange {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

OwnRange files_of_rank(const Dataset& dataset, int rank, int ranks) {
  const auto files = dataset.files();
  const auto number = static_cast<std::int64_t>(files.size());
  OwnRange range;
  for (std::int64_t i = number * rank / ranks; i < number * (rank + 1) / ranks; ++i) {
    const auto& file = files[static_cast<std::size_t>(i)];
    if (range.count == 0) range.begin = file.first;
    range.count += file.count;
  }
  return range;
}

/// Files pinned to ranks: every rank must make as many steps as the one with the fewest (drop) or most
/// (wrap).
SamplerOptions pin_files(const Dataset& dataset, const LoaderSpec& spec, SamplerOptions sampler) {
  const Shard& shard = sampler.shard;
  const auto files = static_cast<std::int64_t>(dataset.files().size());
  if (files < shard.ranks || spec.samples != dataset.size()) {
    throw Error(Fault::config,
                spec.samples != dataset.size()
                    ? "data.sharding: files deals whole samples, not windows of tokens"
                    : fmt::format("{} ranks cannot each keep to files of their own: there are {}",
                                  shard.ranks, files),
                "use data.sharding: global, or import into more files");
  }
  for (int rank = 0; rank < shard.ranks; ++rank) {
    const auto count = shard_of(rank, shard.ranks, shard.per_step).count;
    const auto own = files_of_rank(dataset, rank, shard.ranks);
    const auto steps = steps_of(own.count, count * sampler.microbatch, sampler.tail);
    const bool first = rank == 0;
    sampler.steps = first                        ? steps
                    : sampler.tail == Tail::drop ? std::min(sampler.steps, steps)
                                                 : std::max(sampler.steps, steps);
  }
  const auto own = files_of_rank(dataset, shard.rank, shard.ranks);
  sampler.begin = own.begin;
  sampler.samples = own.count;
  sampler.local = true;
  return sampler;
}

Sampler make_sampler(const Dataset& dataset, const Options& settings, const LoaderSpec& spec,
                     const LoaderOptions& options) {
  SamplerOptions sampler{.samples = spec.samples,
                         .microbatch = options.microbatch,
                         .shard = options.shard,
                         .tail = options.tail,
                         .train = options.train,
                         .shuffle = settings.boolean("shuffle"),
                         .seed = options.seed};
  if (options.train && settings.text("sharding") == "files") sampler = pin_files(dataset, spec, sampler);
  return Sampler(sampler);
}

std::size_t bytes_of(const Shape& shape, Dtype dtype, std::int64_t rows) {
  return static_cast<std::size_t>(shape.count() * rows) * size_of(dtype);
}

class PrefetchingLoader final : public Loader {
 public:
  PrefetchingLoader(const Dataset& dataset, const Options& settings, const LoaderOptions& options)
      : options_(options),
        assembler_(make_assembler(dataset, settings, {.train = options.train, .seed = options.seed})),
        spec_(assembler_->spec()),
        sampler_(make_sampler(dataset, settings, spec_, options)),
        keep_(std::max(1, options.keep)),
        slots_(static_cast<std::size_t>(keep_ + std::max(1, options.prefetch))) {
    spec_.steps_per_epoch = sampler_.steps_per_epoch();
    spec_.tail_note = sampler_.tail_note();
    const auto room = [&](std::size_t bytes) {
      return options.allocate ? options.allocate(bytes) : allocate({}, bytes);
    };
    for (Slot& slot : slots_) {
      slot.input = room(bytes_of(spec_.input, spec_.input_dtype, options.microbatch));
      slot.target = room(bytes_of(spec_.target, spec_.target_dtype, options.microbatch));
    }
    const auto threads = settings.integer("threads");
    for (std::int64_t i = 0; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  PrefetchingLoader(const PrefetchingLoader&) = delete;
  PrefetchingLoader& operator=(const PrefetchingLoader&) = delete;

  ~PrefetchingLoader() override {
    {
      const std::scoped_lock hold(lock_);
      stop_ = true;
    }
    changed_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  [[nodiscard]] const LoaderSpec& spec() const noexcept override { return spec_; }

  const Microbatch& next() override {
    const auto start = std::chrono::steady_clock::now();
    std::unique_lock hold(lock_);
    Slot& slot = slots_[turn_ % slots_.size()];
    changed_.wait(hold, [&] { return slot.turn == turn_ && slot.state != State::filling; });
    waited_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (slot.state == State::failed) std::rethrow_exception(slot.failure);
    ++turn_;
    hold.unlock();
    changed_.notify_all();
    return slot.microbatch;
  }

  void seek(std::int64_t step) override {
    std::unique_lock hold(lock_);
    paused_ = true;
    changed_.wait(hold, [&] { return busy_ == 0; });
    first_step_ = step;
    turn_ = claimed_ = 0;
    paused_ = false;
    for (Slot& slot : slots_) slot.turn = kNobody;
    hold.unlock();
    changed_.notify_all();
  }

  [[nodiscard]] double waited_s() const override {
    const std::scoped_lock hold(lock_);
    return waited_s_;
  }

 private:
  enum class State : std::uint8_t { filling, ready, failed };
  static constexpr std::uint64_t kNobody = ~std::uint64_t{0};

  /// Room for one microbatch. `turn` counts the microbatches of this shard since the last seek.
  struct Slot {
    std::uint64_t turn = kNobody;
    State state = State::filling;
    Microbatch microbatch;
    Memory input, target;
    std::exception_ptr failure;
  };

  /// The oldest microbatch that must stay valid was handed out `keep` calls ago.
  [[nodiscard]] bool may_claim() const {
    return !paused_ && claimed_ + static_cast<std::uint64_t>(keep_) < turn_ + slots_.size();
  }

  void work() {
    Scratch scratch;
    std::unique_lock hold(lock_);
    while (true) {
      changed_.wait(hold, [&] { return stop_ || may_claim(); });
      if (stop_) return;
      const std::uint64_t turn = claimed_++;
      Slot& slot = slots_[turn % slots_.size()];
      slot.turn = turn;
      slot.state = State::filling;
      slot.failure = nullptr;
      ++busy_;
      const std::int64_t first_step = first_step_;
      hold.unlock();
      const bool good = fill(slot, first_step, turn, scratch);
      hold.lock();
      --busy_;
      slot.state = good ? State::ready : State::failed;
      changed_.notify_all();
    }
  }

  /// Fills a slot that nobody else touches; keeps what it throws for next().
  bool fill(Slot& slot, std::int64_t first_step, std::uint64_t turn, Scratch& scratch) {
    try {
      const auto count = options_.shard.count;
      const auto number = static_cast<std::int64_t>(turn);
      const auto pick = sampler_.pick(first_step + number / count, options_.shard.first + number % count);
      assembler_->assemble(pick, static_cast<std::byte*>(slot.input.data()),
                           static_cast<std::byte*>(slot.target.data()), scratch);
      Microbatch& microbatch = slot.microbatch;
      microbatch.input = slot.input.data();
      microbatch.target = slot.target.data();
      microbatch.first_position = pick.first_position;
      microbatch.rows = pick.rows;
      microbatch.epoch = pick.epoch;
      microbatch.indices.assign(pick.samples.begin(), pick.samples.begin() + pick.rows);
      return true;
    } catch (...) {
      slot.failure = std::current_exception();
      return false;
    }
  }

  LoaderOptions options_;
  std::unique_ptr<Assembler> assembler_;
  LoaderSpec spec_;
  Sampler sampler_;
  int keep_;

  mutable std::mutex lock_;  ///< guards what follows; a slot being filled belongs to its worker
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  std::uint64_t turn_ = 0;     ///< the microbatch that next() hands out
  std::uint64_t claimed_ = 0;  ///< the microbatch that the next free worker fills
  std::int64_t first_step_ = 0;
  int busy_ = 0;         ///< workers that fill a slot
  bool paused_ = false;  ///< seek() waits for them
  bool stop_ = false;
  double waited_s_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace

LoaderSpec describe_samples(const Dataset& dataset, const Options& settings, bool train) {
  return make_assembler(dataset, settings, {.train = train})->spec();
}

std::unique_ptr<Loader> make_loader(const Dataset& dataset, const Options& settings,
                                    const LoaderOptions& options) {
  return std::make_unique<PrefetchingLoader>(dataset, settings, options);
}

}  // namespace lockstep::data
