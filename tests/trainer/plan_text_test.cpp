// What `--dry-run` prints against counts by hand: parameters, operations, memory with its padding, the
// optimizer's share, and what each schedule sends.
#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include "data/hdf5_file.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/schema.h"

namespace lockstep::trainer {
namespace {

/// Samples of zeros for both splits: a plan looks at shapes only.
void write_blank_images(const std::string& path, const Shape& image, std::int64_t samples,
                        std::int64_t classes) {
  auto file = data::Hdf5File::create(path);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(samples * image.count()));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(samples));
  for (const std::string split : {"/train", "/test"}) {
    file.make_group(split);
    file.make_dataset(split + "/image", Dtype::u8, Shape{samples, image[0], image[1], image[2]})
        .write_rows(0, samples, flat(std::span(pixels)));
    file.make_dataset(split + "/label", Dtype::i32, Shape{samples})
        .write_rows(0, samples, flat(std::span(labels)));
  }
  file.set_attribute("/", "classes", classes);
  file.flush();
}

class PlanText : public testing::Test {
 protected:
  /// The plan of rank 0 for a model on blank images.
  [[nodiscard]] std::string plan(const std::string& model, const Overrides& overrides, int ranks = 1,
                                 bool one_node = true) const {
    const std::string yaml = "model: " + model + "\ndata: {files: [" + scratch_.path() +
                             "/images.h5]}\nbatch: {global: 8, microbatch: 2}\ntrain: {steps: 5}\ndevice: "
                             "reference\n";
    return describe_plan(Config::parse(yaml, "plan.yaml", overrides, config_schema()), ranks, one_node);
  }
  void write(const Shape& image, std::int64_t samples, std::int64_t classes) const {
    write_blank_images(scratch_.path() + "/images.h5", image, samples, classes);
  }
  ScratchDirectory scratch_;
};

/// The rest of the line that begins with `start`; empty when there is none.
std::string line_of(const std::string& plan, const std::string& start) {
  std::istringstream lines(plan);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(start)) continue;
    const std::size_t first = line.find_first_not_of(' ', start.size());
    return first == std::string::npos ? "" : line.substr(first);
  }
  return "";
}

/// The columns of an operation's line after its name and kind: output, parameters, MFLOP, activation.
std::vector<std::string> columns_of(const std::string& plan, const std::string& operation) {
  std::istringstream line(line_of(plan, operation + " "));
  std::vector<std::string> words;
  for (std::string word; line >> word;) words.push_back(word);
  return words;
}

// 36 pixels, layers of 500 and 300, 3 classes, microbatches of 96.
const char* const kMlp = "{name: mlp, mlp: {hidden: [500, 300]}}";
const Overrides kOneMicrobatch{"batch.global=96", "batch.microbatch=96"};

TEST_F(PlanText, counts_of_an_mlp_are_those_by_hand) {
  write({1, 6, 6}, 96, 3);
  const std::string text = plan(kMlp, kOneMicrobatch);
  EXPECT_EQ(line_of(text, "parameters "), std::to_string(36 * 500 + 500 + 500 * 300 + 300 + 300 * 3 + 3));
  using Words = std::vector<std::string>;
  // 96 (2 in out + out) operations; 4 bytes of 96 out
  EXPECT_EQ(columns_of(text, "fc1"), (Words{"linear", "[96,", "500]", "18500", "3.50", "187.5", "KiB"}));
  EXPECT_EQ(columns_of(text, "fc2"), (Words{"linear", "[96,", "300]", "150300", "28.83", "112.5", "KiB"}));
  EXPECT_EQ(columns_of(text, "fc3"), (Words{"linear", "[96,", "3]", "903", "0.17", "1.1", "KiB"}));
  // ReLUs: one operation an element. Backward: two products a layer, but none for the image's gradient.
  EXPECT_EQ(line_of(text, "work "), "0.033 GFLOP forward, 0.062 GFLOP backward a microbatch of 96");
  EXPECT_EQ(line_of(text, "batch "),
            "96 samples a step in 1 microbatches, 1 of them on rank 0; 5 steps, 1 an epoch");
}

/// Bytes of the mlp's flat array: every slot ends on a multiple of 256 bytes.
constexpr double kMlpBytes = 72192 + 2048 + 600064 + 1280 + 3840 + 256;

std::string kib(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, bytes < 1 << 20 ? "%.1f KiB" : "%.1f MiB",
                bytes < 1 << 20 ? bytes / 1024 : bytes / (1 << 20));
  return text;
}

TEST_F(PlanText, memory_is_the_padded_arrays_and_what_the_optimizer_remembers) {
  write({1, 6, 6}, 96, 3);
  const auto memory = [&](const Overrides& more) {
    Overrides all = kOneMicrobatch;
    all.insert(all.end(), more.begin(), more.end());
    return plan(kMlp, all);
  };
  const std::string text = memory({});
  EXPECT_EQ(line_of(text, "  values "), kib(kMlpBytes));
  EXPECT_EQ(line_of(text, "  gradients "), kib(kMlpBytes) + " (1 arrays)");
  EXPECT_EQ(line_of(text, "  optimizer "), kib(kMlpBytes)) << "momentum";
  EXPECT_EQ(line_of(memory({"optimizer.name=adamw"}), "  optimizer "), kib(2 * kMlpBytes)) << "two moments";
  EXPECT_EQ(line_of(memory({"optimizer.name=lamb"}), "  optimizer "), kib(2 * kMlpBytes));
}

TEST_F(PlanText, reproducible_sums_need_an_array_for_every_doubling_of_microbatches) {
  write({1, 6, 6}, 96, 3);
  for (const auto& [microbatch, arrays] : {std::pair{96, 1}, {48, 2}, {24, 3}, {12, 4}, {6, 5}}) {
    const std::string text = plan(kMlp, {"batch.global=96", "train.reproducible=true",
                                         "batch.microbatch=" + std::to_string(microbatch)});
    EXPECT_EQ(line_of(text, "  gradients "),
              kib(arrays * kMlpBytes) + " (" + std::to_string(arrays) + " arrays)")
        << microbatch;
  }
}

TEST_F(PlanText, ring_of_four_sends_three_halves_of_the_array_in_six_messages) {
  write({1, 6, 6}, 96, 3);
  const Overrides ring{"batch.global=96", "batch.microbatch=6", "allreduce.name=ring"};
  const std::string four = plan(kMlp, ring, 4);
  EXPECT_EQ(line_of(four, "exchange by "), "ring over 4 rank(s), 1 bucket(s)");
  EXPECT_EQ(line_of(four, "  bucket 0: "), "slots 0 to 5, " + kib(kMlpBytes) + "; rank 0 sends " +
                                               kib(1.5 * kMlpBytes) + " in 6 messages, 6 rounds");
  EXPECT_EQ(
      line_of(plan(kMlp, ring, 2), "  bucket 0: "),
      "slots 0 to 5, " + kib(kMlpBytes) + "; rank 0 sends " + kib(kMlpBytes) + " in 2 messages, 2 rounds");
  EXPECT_EQ(line_of(plan(kMlp, ring, 1), "  bucket 0: "),
            "slots 0 to 5, " + kib(kMlpBytes) + "; rank 0 sends 0 B in 0 messages, 0 rounds");
}

TEST_F(PlanText, recursive_doubling_sends_the_array_once_a_round) {
  write({1, 6, 6}, 96, 3);
  for (const int rounds : {1, 2, 3, 4}) {
    const std::string text = plan(
        kMlp, {"batch.global=96", "batch.microbatch=6", "allreduce.name=recursive_doubling"}, 1 << rounds);
    char wanted[128];
    std::snprintf(wanted, sizeof wanted, "; rank 0 sends %s in %d messages, %d rounds",
                  kib(rounds * kMlpBytes).c_str(), rounds, rounds);
    EXPECT_EQ(line_of(text, "  bucket 0: "), "slots 0 to 5, " + kib(kMlpBytes) + wanted);
  }
}

TEST_F(PlanText, buckets_hold_whole_slots_in_the_order_of_completion) {
  write({1, 6, 6}, 96, 3);
  const Overrides small{"exchange.bucket_mib=0.001", "exchange.first_bucket_mib=0.001"};
  const std::string text = plan(kMlp, small, 2);
  // No two neighbours fit into 1 KiB together. Backward completes the last layer first.
  EXPECT_EQ(line_of(text, "exchange by "), "shared over 2 rank(s), 6 bucket(s)");
  const std::vector<double> bytes{3840, 256, 600064, 1280, 72192, 2048};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::string slot = std::to_string(i);
    const std::string size = bytes[i] < 1024 ? "256 B" : kib(bytes[i]);
    EXPECT_TRUE(
        line_of(text, "  bucket " + slot + ": ").starts_with("slots " + slot + " to " + slot + ", " + size))
        << line_of(text, "  bucket " + slot + ": ");
  }
  EXPECT_EQ(
      line_of(plan(kMlp, {"exchange.bucket_mib=0.6", "exchange.first_bucket_mib=0.004"}, 2), "exchange by "),
      "shared over 2 rank(s), 3 bucket(s)");
}

TEST_F(PlanText, resnet20_has_its_published_size_at_cifar_shapes) {
  write({3, 32, 32}, 8, 10);
  const std::string text = plan("resnet", {});
  EXPECT_EQ(line_of(text, "parameters "), "269722");
  EXPECT_EQ(columns_of(text, "conv1"),
            (std::vector<std::string>{"conv2d", "[2,", "16,", "32,", "32]", "432", "1.77", "128.0", "KiB"}));
  EXPECT_EQ(columns_of(text, "layer3.2.conv2"),
            (std::vector<std::string>{"conv2d", "[2,", "64,", "8,", "8]", "36864", "9.44", "32.0", "KiB"}));
  EXPECT_EQ(columns_of(text, "linear"),
            (std::vector<std::string>{"linear", "[2,", "10]", "650", "0.00", "80", "B"}));
  // 40.55 M multiply-adds a sample in convolutions and the head (He et al.), 2 samples, norms and ReLUs
  // besides
  EXPECT_EQ(line_of(text, "work "), "0.165 GFLOP forward, 0.326 GFLOP backward a microbatch of 2");
  EXPECT_EQ(line_of(plan("{name: resnet, resnet: {shortcut: B}}", {}), "parameters "), "272474");
}

TEST_F(PlanText, vgg16_is_planned_at_its_full_size) {
  write({3, 224, 224}, 2, 1000);
  const std::string text = plan("vgg16", {"batch.global=2", "batch.microbatch=1"});
  EXPECT_EQ(line_of(text, "parameters "), "138357544");
  EXPECT_EQ(line_of(text, "  values "), "527.8 MiB");
}

TEST_F(PlanText, wider_batch_changes_activations_and_work_but_no_parameters) {
  write({3, 32, 32}, 64, 10);
  const auto number = [](const std::string& line) { return std::stod(line); };
  const std::string narrow = plan("resnet", {"batch.global=64", "batch.microbatch=4"});
  const std::string wide = plan("resnet", {"batch.global=64", "batch.microbatch=16"});
  EXPECT_EQ(line_of(wide, "parameters "), line_of(narrow, "parameters "));
  EXPECT_EQ(line_of(wide, "  values "), line_of(narrow, "  values "));
  EXPECT_NEAR(number(line_of(wide, "work ")), 4 * number(line_of(narrow, "work ")), 0.003);
  EXPECT_NEAR(number(line_of(wide, "  activations ")), 4 * number(line_of(narrow, "  activations ")), 0.3);
}

TEST_F(PlanText, sharded_optimizer_remembers_its_part_only) {
  write({1, 6, 6}, 96, 3);
  const Overrides settings{"batch.global=96", "batch.microbatch=6", "optimizer.name=adamw"};
  Overrides sharded = settings;
  sharded.emplace_back("optimizer.shard=true");
  const std::string whole = plan(kMlp, settings, 2), part = plan(kMlp, sharded, 2);
  EXPECT_EQ(line_of(whole, "  optimizer "), kib(2 * kMlpBytes));
  // Whole slots: one rank has the layer of 600,064 bytes, whatever the other has.
  EXPECT_GE(std::stod(line_of(part, "  optimizer ")), 2 * 600064.0 / (1 << 20) - 0.1);
  EXPECT_LT(line_of(part, "  optimizer "), line_of(whole, "  optimizer "));
  EXPECT_FALSE(line_of(part, "  updated values: ").empty());
  EXPECT_TRUE(line_of(whole, "  updated values: ").empty());
}

}  // namespace
}  // namespace lockstep::trainer
