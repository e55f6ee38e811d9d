// The file of predictions has one row a sample in the split's order, whoever evaluated it: the same bits at
// any number of ranks, also with more ranks than microbatches; and it appears whole or not at all.
#include "trainer/predictions.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "comm/worlds.h"
#include "data/hdf5_file.h"
#include "tests/models/model_support.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/evaluation_run.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSamples = 22;  // of the test split of tiny images

/// The columns of a file as floats.
struct Table {
  std::vector<float> prediction, loss, target;
  friend bool operator==(const Table&, const Table&) = default;
};

std::vector<float> column(const data::Hdf5File& file, const std::string& name) {
  const data::Hdf5Array array = file.dataset("/" + name);
  std::vector<float> values(static_cast<std::size_t>(array.storage().shape.count()));
  array.read(flat(std::span(values)));
  return values;
}

class Predictions : public testing::Test {
 protected:
  Predictions() {
    write_tiny_images(file("images.h5"));
    EXPECT_EQ(run_part(scratch_.path(), file("run"), {"train.steps=2"}, 0, false, 1).exit_code, 0);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return scratch_.path() + "/" + name; }

  /// Evaluates on `ranks` threads; the figures must be the same on every rank.
  Evaluation evaluate(int ranks, const Overrides& overrides, const std::string& to) const {
    const Config config = tiny_config(scratch_.path(), "images", overrides);
    std::vector<Evaluation> all(static_cast<std::size_t>(ranks));
    comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
      all[static_cast<std::size_t>(world.rank())] = evaluate_file(config, file("run"), world, to);
    });
    for (const Evaluation& each : all) EXPECT_EQ(each.values, all[0].values);
    return all[0];
  }
  [[nodiscard]] Table table(int ranks, const Overrides& overrides) const {
    static_cast<void>(evaluate(ranks, overrides, file("p.h5")));
    const auto opened = data::Hdf5File::open(file("p.h5"));
    return {column(opened, "prediction"), column(opened, "loss"), column(opened, "target")};
  }

 private:
  ScratchDirectory scratch_;
};

TEST_F(Predictions, are_the_same_bits_at_any_number_of_ranks) {
  for (const char* microbatch : {"1", "5", "22"}) {
    const Overrides overrides{"batch.microbatch=" + std::string(microbatch)};
    const Table alone = table(1, overrides);
    ASSERT_EQ(alone.loss.size(), static_cast<std::size_t>(kSamples));
    ASSERT_EQ(alone.prediction.size(), static_cast<std::size_t>(3 * kSamples));
    for (const int ranks : {2, 3, 5, 7})
      EXPECT_TRUE(table(ranks, overrides) == alone) << ranks << " ranks, microbatches of " << microbatch;
  }
}

TEST_F(Predictions, hold_the_targets_in_the_order_of_the_split) {
  const auto images = data::Hdf5File::open(file("images.h5"));
  for (const char* microbatch : {"1", "4", "7"})
    EXPECT_EQ(table(3, {"batch.microbatch=" + std::string(microbatch)}).target, column(images, "test/label"));
}

TEST_F(Predictions, give_the_figures_that_were_reported) {
  const Evaluation evaluation = evaluate(5, {"batch.microbatch=3"}, file("q.h5"));
  const auto opened = data::Hdf5File::open(file("q.h5"));
  const std::vector<float> scores = column(opened, "prediction"), labels = column(opened, "target");
  int right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto* row = scores.data() + 3 * i;
    right += std::max_element(row, row + 3) - row == static_cast<int>(labels[i]) ? 1 : 0;
  }
  EXPECT_DOUBLE_EQ(evaluation.values[0].second, static_cast<double>(right) / kSamples);
}

TEST_F(Predictions, are_of_as_many_microbatches_as_asked_for_and_never_of_more_samples_than_there_are) {
  const Table whole = table(1, {"batch.microbatch=4"});
  for (const auto& [limit, rows] : std::vector<std::pair<std::string, std::size_t>>{
           {"1", 4}, {"5", 20}, {"6", 22}, {"7", 22}, {"9223372036854775807", 22}}) {
    const Table part = table(3, {"batch.microbatch=4", "eval.microbatches=" + limit});
    ASSERT_EQ(part.loss.size(), rows) << limit;
    EXPECT_TRUE(std::equal(part.loss.begin(), part.loss.end(), whole.loss.begin())) << limit;
  }
}

TEST_F(Predictions, take_the_place_of_an_older_file_and_leave_nothing_else) {
  std::ofstream(file("p.h5")) << "old";
  EXPECT_EQ(table(3, {}).loss.size(), static_cast<std::size_t>(kSamples));
  EXPECT_FALSE(fs::exists(file("p.h5.partial")));
}

TEST_F(Predictions, that_would_take_the_place_of_a_folder_are_refused_and_leave_nothing) {
  expect_error(Fault::data, {file("run"), "folder"},
               [&] { static_cast<void>(evaluate(1, {}, file("run"))); });
  EXPECT_FALSE(fs::exists(file("run.partial")));
  EXPECT_TRUE(fs::exists(file("run") + "/checkpoints/latest"));
}

/// A file for 3 samples of one number in microbatches of two, on a rank of its own.
std::unique_ptr<PredictionFile> small_file(const std::string& path) {
  const auto world = comm::make_self_world();
  return std::make_unique<PredictionFile>(
      path, models::graph_of("mlp", {}, {.input = Shape{1}, .target = Shape{1}}, 2), 3, 2,
      comm::make_collectives(world->transport(10), comm::schedules().create("recursive_doubling", {})));
}
void add_two(PredictionFile& file, std::vector<float> numbers, std::int64_t rows) {
  file.add({.prediction = numbers,
            .losses = numbers,
            .target = numbers.data(),
            .prediction_shape = Shape{2, 1},
            .target_shape = Shape{2, 1},
            .rows = rows,
            .labels = false});
}

TEST_F(Predictions, padding_of_the_last_microbatch_is_left_out) {
  const auto written = small_file(file("s.h5"));
  add_two(*written, {1, 2}, 2);
  add_two(*written, {3, -1}, 1);
  EXPECT_FALSE(fs::exists(file("s.h5"))) << "not whole yet";
  written->finish();
  EXPECT_EQ(column(data::Hdf5File::open(file("s.h5")), "prediction"), (std::vector<float>{1, 2, 3}));
}

TEST_F(Predictions, that_end_early_leave_nothing) {
  {
    const auto written = small_file(file("s.h5"));
    add_two(*written, {1, 2}, 2);
    EXPECT_TRUE(fs::exists(file("s.h5.partial")));
  }
  EXPECT_FALSE(fs::exists(file("s.h5.partial")));
  EXPECT_FALSE(fs::exists(file("s.h5")));
}

TEST_F(Predictions, whose_place_is_taken_while_they_are_made_leave_nothing) {
  auto written = small_file(file("s.h5"));
  add_two(*written, {1, 2}, 2);
  add_two(*written, {3, 4}, 1);
  fs::create_directories(file("s.h5"));
  expect_error(Fault::data, {"cannot write", file("s.h5")}, [&] { written->finish(); });
  written.reset();
  EXPECT_FALSE(fs::exists(file("s.h5.partial")));
}

TEST(EvaluatedSamples, no_limit_overflows_into_fewer) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t samples : {std::int64_t{1}, std::int64_t{22}, std::int64_t{1} << 40}) {
    for (const std::int64_t microbatch : {std::int64_t{1}, std::int64_t{16}, most}) {
      EvaluationOptions options;
      options.microbatch = microbatch;
      for (const std::int64_t limit : {std::int64_t{0}, most / 16 + 1, most - 1, most}) {
        options.microbatches = limit;
        EXPECT_EQ(evaluated_samples(samples, options), samples) << limit << " of " << microbatch;
      }
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
