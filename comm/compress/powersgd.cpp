// PowerSGD (Vogels et al., NeurIPS 2019): a slot is a matrix M [rows = first axis, columns = the rest]; one
// step of power iteration from the last step's Q gives a rank-r approximation of the mean:
//
//   P = sum over ranks of M_i Q / p;   P = orthonormal(P);   Q_i = M_i^T P;   Q = sum of Q_i / p;   mean = P
//   Q^T
//
// 4 r (rows + columns) bytes in two all-reduces. The residual is M_i - P Q_i^T with this rank's own Q_i: it
// stays bounded, while with the mean's Q it would walk at random. Slots that would not shrink at least
// min_ratio times travel whole in the first all-reduce.
#include <numeric>

#include "comm/compress/rows.h"
#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"rank", SettingType::integer, "16", "columns of the factors", "[1,64]"},
    {"min_ratio", SettingType::real, "2", "slots that shrink less are sent whole", "[1,inf)"},
    {"feedback", SettingType::boolean, "true", "error feedback: keep what was not sent for the next step"},
};

/// One slot as a matrix, and where its factors lie in their arrays.
struct Factored {
  const Slot* slot = nullptr;
  Matrix matrix;
  std::int64_t p_first = 0, q_first = 0;
};

/// The place in the packed array of each canonical element; the identity where storage is canonical.
std::vector<std::int32_t> canonical_places(const Group& group) {
  std::vector<std::int32_t> places(static_cast<std::size_t>(group.count));
  std::iota(places.begin(), places.end(), 0);
  for (const Piece& piece : group.pieces) {
    if (!piece.slot->storage) continue;
    // Storage orders move floats, which count exactly to 2^24 only: so move both halves of the places.
    const auto stored = static_cast<std::size_t>(piece.slot->stored_count);
    const auto count = static_cast<std::size_t>(piece.slot->shape.count());
    std::vector<float> low(stored), high(stored), low_moved(count), high_moved(count);
    for (std::size_t i = 0; i < stored; ++i) {
      low[i] = static_cast<float>(i & 0xffff);
      high[i] = static_cast<float>(i >> 16);
    }
    piece.slot->storage->to_canonical(low, low_moved);
    piece.slot->storage->to_canonical(high, high_moved);
    for (std::size_t i = 0; i < count; ++i) {
      const auto place =
          (static_cast<std::int64_t>(high_moved[i]) << 16) + static_cast<std::int64_t>(low_moved[i]);
      places[static_cast<std::size_t>(piece.first) + i] = static_cast<std::int32_t>(piece.first + place);
    }
  }
  return places;
}

class PowerSgd final : public Compressor {
 public:
  PowerSgd(const Options& options, const CompressorContext& context)
      : Compressor(context, options.boolean("feedback")), rank_(static_cast<int>(options.integer("rank"))) {
    divide(options.real("min_ratio"));
    p_ = floats(p_count_ + whole_count_);
    q_ = Remembered(context.verdict, Dtype::f32, q_count_);
    spare_ = floats(q_count_);
    for (const Factored& each : factored_) start(each);
    const bool moved = std::any_of(context.group.pieces.begin(), context.group.pieces.end(),
                                   [](const Piece& piece) { return piece.slot->storage != nullptr; });
    if (!moved) return;
    const std::vector<std::int32_t> places = canonical_places(context.group);
    places_ = make_array(context.device, Dtype::i32, context.group.count);
    copy_from_host(places.data(), places_.span);
    matrices_ = floats(context.group.count);
  }

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t /*step*/) const override {
    const auto sum = [&](std::int64_t count) {
      return schedule.stated_cost(context().rank, context().ranks, count).elements * 4;
    };
    return sum(p_.span.count) + sum(q_count_);
  }
  Start start() const noexcept override { return Start::exact; }

 private:
  void divide(double min_ratio) {
    for (const Piece& piece : group().pieces) {
      const std::int64_t count = piece.slot->shape.count();
      const std::int64_t rows = piece.slot->shape[0];
      const std::int64_t columns = count / rows;
      const double factors = static_cast<double>(rank_) * static_cast<double>(rows + columns);
      if (static_cast<double>(count) < min_ratio * factors) {
        whole_.push_back({piece.first, piece.slot->stored_count});
        whole_count_ += piece.slot->stored_count;
        continue;
      }
      factored_.push_back({piece.slot, {piece.first, rows, columns}, p_count_, q_count_});
      p_count_ += rank_ * rows;
      q_count_ += rank_ * columns;
    }
  }

  [[nodiscard]] FlatSpan p_of(const Factored& each) const {
    return p_.span.part(each.p_first, rank_ * each.matrix.rows);
  }
  [[nodiscard]] FlatSpan q_of(const Factored& each) const {
    return q_.current().part(each.q_first, rank_ * each.matrix.columns);
  }

  /// Random columns, the same on every rank.
  void start(const Factored& each) {
    std::vector<float> columns(static_cast<std::size_t>(rank_ * each.matrix.columns));
    const RandomSource source(context().seed, "powersgd", name_hash(each.slot->name));
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = source.normal(i);
    restore(each, columns);
    std::vector<float> spare;
    for (int j = 0; j < rank_; ++j) {
      const RandomSource other(context().seed + name_hash(each.slot->name), "low rank",
                               static_cast<std::uint64_t>(j));
      for (std::int64_t i = 0; i < each.matrix.columns; ++i)
        spare.push_back(other.normal(static_cast<std::uint64_t>(i)));
    }
    copy_from_host(spare.data(), spare_.span.part(each.q_first, rank_ * each.matrix.columns));
  }
  void restore(const Factored& each, const std::vector<float>& columns) {
    const auto count = static_cast<std::int64_t>(columns.size());
    copy_from_host(columns.data(), q_.current().part(each.q_first, count));
    copy_from_host(columns.data(), q_.settled().part(each.q_first, count));
  }

  void settle_more(Stream& stream) override { q_.settle(stream); }

  void average(const Turn& turn) override {
    const FlatSpan m = places_.span.count > 0 ? matrices_.span : turn.values;
    if (places_.span.count > 0) kernels().pick(turn.values, places_.span, m, turn.stream);
    left_factors(turn, m);
    right_factors(turn, m);
    if (places_.span.count == 0) return;
    // Back to storage order: the residual, then the mean.
    kernels().place(m, places_.span, turn.values, turn.stream);
    vector::cast(turn.mean, m, turn.stream);
    kernels().place(m, places_.span, turn.mean, turn.stream);
  }

  /// P, the same on every rank, and the slots that travel whole.
  void left_factors(const Turn& turn, FlatSpan m) {
    for (const Factored& each : factored_)
      kernels().times_right(m, each.matrix, q_of(each), p_of(each), rank_, turn.stream);
    copy_whole(m, true, turn.stream);
    mark(Phase::encode, turn.stream);
    turn.collectives.sum(p_.span, turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    vector::scale(share(), p_.span, turn.stream);
    vector::fill(turn.mean, 0, turn.stream);
    copy_whole(turn.mean, false, turn.stream);
    for (const Range& range : whole_) vector::fill(m.part(range.first, range.count), 0, turn.stream);
    for (const Factored& each : factored_)
      kernels().orthonormalise(p_of(each), each.matrix.rows, rank_, turn.stream);
  }

  /// Q, the residual, and the mean.
  void right_factors(const Turn& turn, FlatSpan m) {
    for (const Factored& each : factored_) {
      kernels().times_left(m, each.matrix, p_of(each), q_of(each), rank_, turn.stream);
      if (feedback())
        kernels().add_product(p_of(each), q_of(each), rank_, -1, true, m, each.matrix, turn.stream);
    }
    mark(Phase::encode, turn.stream);
    turn.collectives.sum(q_.current(), turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    vector::scale(share(), q_.current(), turn.stream);
    for (const Factored& each : factored_) {
      kernels().add_product(p_of(each), q_of(each), rank_, 1, false, turn.mean, each.matrix, turn.stream);
      kernels().revive(q_of(each), spare_.span.part(each.q_first, rank_ * each.matrix.columns),
                       each.matrix.columns, rank_, turn.stream);
    }
  }

  /// Slots that travel whole, into the array of factors or out of it.
  void copy_whole(FlatSpan array, bool in, Stream& stream) {
    std::int64_t at = p_count_;
    for (const Range& range : whole_) {
      const FlatSpan own = array.part(range.first, range.count);
      const FlatSpan sent = p_.span.part(at, range.count);
      vector::cast(in ? own : sent, in ? sent : own, stream);
      at += range.count;
    }
  }

  [[nodiscard]] float share() const { return 1.0f / static_cast<float>(context().ranks); }

  [[nodiscard]] std::string key_of(const Factored& each) const {
    return each.slot->name + "/" + std::to_string(rank_);
  }
  void save_more(StateWriter& writer) const override {
    StateWriter scope = writer.scope("powersgd");
    const FlatSpan q = q_.standing();
    for (const Factored& each : factored_) {
      std::vector<float> columns(static_cast<std::size_t>(rank_ * each.matrix.columns));
      copy_to_host(q.part(each.q_first, rank_ * each.matrix.columns), columns.data());
      scope.floats(key_of(each), {rank_, each.matrix.columns}, columns);
    }
  }
  void load_more(const StateReader& reader) override {
    const StateReader scope = reader.scope("powersgd");
    for (const Factored& each : factored_) {
      if (scope.has(key_of(each))) restore(each, scope.floats(key_of(each), {rank_, each.matrix.columns}));
    }
  }
  /// Q is the same on every rank.
  void carry_more(const StateReader& reader, float /*share*/) override { load_more(reader); }

  int rank_;
  std::vector<Factored> factored_;
  std::vector<Range> whole_;
  std::int64_t p_count_ = 0, q_count_ = 0, whole_count_ = 0;
  FlatArray p_;
  Remembered q_;
  FlatArray spare_;              ///< for columns of Q that vanish
  FlatArray places_, matrices_;  ///< only where some slot is stored in another order
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<PowerSgd>(options, context);
}

}  // namespace

const CompressorRegistry::Row kPowerSgd{"powersgd", "low-rank factors by power iteration with a warm start",
                                        kSettings, make};

}  // namespace lockstep::comm
