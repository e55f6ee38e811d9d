// Ranks evaluate neighbouring ranges of microbatches. In round k rank 0 takes the k-th one of every rank;
// which samples those are follows from the share, so nothing but the numbers themselves is sent.
#include "trainer/predictions.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/output.h"
#include "data/hdf5_file.h"

namespace lockstep::trainer {

namespace {

/// One dataset of the file, and room for a microbatch of it.
struct Column {
  Column(const std::string& column, Dtype type, const Shape& sample, std::int64_t microbatch)
      : name(column), dtype(type), row(sample), block(row_bytes() * static_cast<std::size_t>(microbatch)) {}

  [[nodiscard]] std::size_t row_bytes() const {
    return static_cast<std::size_t>(row.count()) * size_of(dtype);
  }
  FlatSpan first(std::int64_t rows) { return {block.data(), rows * row.count(), dtype}; }

  std::string name;
  Dtype dtype;
  Shape row;
  std::vector<std::byte> block;
  std::optional<data::Hdf5Array> array;
};

Shape without_first(const Shape& shape) {
  return Shape(std::vector(shape.extents().begin() + 1, shape.extents().end()));
}

/// One loss a sample, or one for each of its targets.
Shape loss_row(const Shape& target, std::int64_t losses_per_sample) {
  if (losses_per_sample == 1) return {};
  return target.count() == losses_per_sample ? target : Shape{losses_per_sample};
}

}  // namespace

struct PredictionFile::State {
  [[nodiscard]] data::Shard share(int rank) const {
    return evaluation_share(samples, microbatch, rank, collectives->size());
  }
  /// The sample at which a rank's microbatch of this round starts.
  [[nodiscard]] std::int64_t first_of(int rank) const { return (share(rank).first + round) * microbatch; }
  [[nodiscard]] std::int64_t rows_of(int rank) const {
    return round < share(rank).count ? std::clamp<std::int64_t>(samples - first_of(rank), 0, microbatch) : 0;
  }

  /// Columns hold this rank's microbatch; moves on to the next round.
  void hand_over() {
    for (Column& column : columns) {
      if (collectives->rank() == 0) {
        write(column);
      } else if (const std::int64_t rows = rows_of(collectives->rank()); rows > 0) {
        const comm::Send send{0, column.first(rows)};
        collectives->exchange({&send, 1}, {}, *stream);
        stream->synchronize();
      }
    }
    ++round;
  }

  void write(Column& column) {
    for (int rank = 0; rank < collectives->size(); ++rank) {
      const std::int64_t rows = rows_of(rank);
      if (rows == 0) continue;
      if (rank > 0) {
        const comm::Recv receive{rank, column.first(rows)};
        collectives->exchange({}, {&receive, 1}, *stream);
        stream->synchronize();
      }
      column.array->write_rows(first_of(rank), rows, column.first(rows));
    }
  }

  std::string path, aside;
  std::int64_t samples, microbatch;
  std::unique_ptr<comm::Collectives> collectives;
  std::unique_ptr<Stream> stream = make_stream({}, {.name = "predictions", .threads = 1});
  std::vector<Column> columns;
  std::optional<data::Hdf5File> file;  ///< rank 0
  std::int64_t round = 0;
  bool finished = false;
};

PredictionFile::PredictionFile(const std::string& path, const models::Graph& graph, std::int64_t samples,
                               std::int64_t microbatch, std::unique_ptr<comm::Collectives> collectives)
    : state_(std::make_unique<State>(State{
          .path = path,
          .aside = path + ".partial",
          .samples = samples,
          .microbatch = microbatch,
          .collectives = std::move(collectives),
      })) {
  const auto value = [&](int id) { return graph.values()[static_cast<std::size_t>(id)]; };
  const Shape target = without_first(value(graph.target()).shape);
  const std::int64_t losses = value(graph.loss()).shape.count() / microbatch;
  state_->columns.emplace_back("prediction", Dtype::f32, without_first(value(graph.prediction()).shape),
                               microbatch);
  state_->columns.emplace_back("loss", Dtype::f32, loss_row(target, losses), microbatch);
  state_->columns.emplace_back("target", value(graph.target()).dtype, target, microbatch);
  if (state_->collectives->rank() != 0) return;
  check_replaceable(path, Fault::data);
  state_->file = data::Hdf5File::create(state_->aside);
  for (Column& column : state_->columns) {
    std::vector<std::int64_t> extents{samples};
    extents.insert(extents.end(), column.row.extents().begin(), column.row.extents().end());
    column.array = state_->file->make_dataset("/" + column.name, column.dtype, Shape(extents));
  }
}

PredictionFile::~PredictionFile() {
  if (state_->collectives->rank() != 0 || state_->finished) return;
  state_->file.reset();
  std::error_code ignored;
  std::filesystem::remove(state_->aside, ignored);
}

void PredictionFile::add(const Evaluated& batch) {
  const std::byte* const sources[] = {reinterpret_cast<const std::byte*>(batch.prediction.data()),
                                      reinterpret_cast<const std::byte*>(batch.losses.data()),
                                      static_cast<const std::byte*>(batch.target)};
  for (std::size_t i = 0; i < state_->columns.size(); ++i)
    std::copy_n(sources[i], state_->columns[i].block.size(), state_->columns[i].block.data());
  state_->hand_over();
}

void PredictionFile::finish() {
  while (state_->round < state_->share(0).count) state_->hand_over();
  if (!state_->file) return;
  state_->file->flush();
  state_->columns.clear();
  state_->file.reset();
  std::error_code error;
  std::filesystem::rename(state_->aside, state_->path, error);
  if (error)
    throw Error(Fault::data, "cannot write '" + state_->path + "': " + error.message(),
                "choose another place with --predictions");
  state_->finished = true;
}

}  // namespace lockstep::trainer
