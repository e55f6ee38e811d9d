#include "tests/trainer/tiny_run.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <limits>
#include <mutex>

#include "comm/worlds.h"
#include "core/random.h"
#include "data/hdf5_file.h"
#include "trainer/schema.h"

namespace lockstep::trainer {

namespace {

constexpr std::int64_t kPixels = 36;

/// Noise with a bright row that tells the class.
void write_split(data::Hdf5File& file, const std::string& split, std::int64_t samples, int poisoned) {
  std::vector<float> images(static_cast<std::size_t>(samples * kPixels));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(samples));
  for (std::int64_t i = 0; i < samples; ++i) {
    const RandomSource random(7, split, static_cast<std::uint64_t>(i));
    const auto label = static_cast<std::int32_t>(random.below(1000, 3));
    labels[static_cast<std::size_t>(i)] = label;
    for (std::int64_t pixel = 0; pixel < kPixels; ++pixel) {
      const bool bright = pixel / 6 == 2 * label;
      images[static_cast<std::size_t>(i * kPixels + pixel)] =
          random.normal(static_cast<std::uint64_t>(pixel)) * 0.5f + (bright ? 1.0f : 0.0f);
    }
    if (i == poisoned)
      images[static_cast<std::size_t>(i * kPixels)] = std::numeric_limits<float>::quiet_NaN();
  }
  file.make_group("/" + split);
  file.make_dataset("/" + split + "/image", Dtype::f32, Shape{samples, 1, 6, 6})
      .write_rows(0, samples, flat(std::span(images)));
  file.make_dataset("/" + split + "/label", Dtype::i32, Shape{samples})
      .write_rows(0, samples, flat(std::span(labels)));
}

const char* const kImages = R"(
model: {name: cnn, cnn: {channels: [4], dropout: 0.25}}
data: {files: [FILE]}
batch: {global: 16, microbatch: 2}
train: {steps: 6}
rate: {peak: 0.05}
device: reference
run: {deadline_s: 60}
checkpoint: {best: false}
)";
const char* const kTokens = R"(
model: {name: gpt2, gpt2: {layers: 2, heads: 2, width: 8, dropout: 0.1}}
data: {files: [FILE], context: 8}
batch: {global: 8, microbatch: 1}
train: {steps: 4, clip_norm: 1.0}
optimizer: adamw
rate: {peak: 0.01}
device: reference
run: {deadline_s: 60}
checkpoint: {best: false}
)";

}  // namespace

void write_tiny_images(const std::string& file, int poisoned) {
  data::Hdf5File out = data::Hdf5File::create(file);
  write_split(out, "train", 96, poisoned);
  write_split(out, "test", 22, -1);
  out.set_attribute("/", "classes", std::int64_t{3});
  out.flush();
}

void write_tiny_tokens(const std::string& file) {
  data::Hdf5File out = data::Hdf5File::create(file);
  for (const char* split : {"train", "test"}) {
    std::vector<std::uint16_t> tokens(2000);
    const RandomSource random(3, split, 0);
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      tokens[i] = static_cast<std::uint16_t>((tokens[i - 1] + 1 + random.below(i, 2)) % 11);
    }
    out.make_group("/" + std::string(split));
    out.make_dataset("/" + std::string(split) + "/tokens", Dtype::u16, Shape{2000})
        .write_rows(0, 2000, flat(std::span(tokens)));
  }
  out.set_attribute("/", "classes", std::int64_t{11});
  out.flush();
}

Config tiny_config(const std::string& directory, const std::string& kind, const Overrides& overrides) {
  std::string yaml = kind == "tokens" ? kTokens : kImages;
  yaml.replace(yaml.find("FILE"), 4, directory + "/" + kind + ".h5");
  return Config::parse(yaml, "tiny.yaml", overrides, config_schema());
}

Outcome run_tiny(const Config& config, int ranks, const TrainingOptions& options) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
    const auto log = make_silent_log();
    outcomes[static_cast<std::size_t>(world.rank())] = train(config, world, *log, options);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit_code, outcomes[0].exit_code);
    EXPECT_EQ(outcome.end.parameter_hash, outcomes[0].end.parameter_hash);
    EXPECT_EQ(outcome.end.state_hash, outcomes[0].end.state_hash);
  }
  return outcomes[0];
}

Hashes hashes_of(const Outcome& outcome) {
  return {outcome.end.parameter_hash, outcome.end.state_hash, outcome.last_loss};
}

Hashes train_once(const std::string& kind, const Overrides& overrides, int ranks) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  write_tiny_tokens(scratch.path() + "/tokens.h5");
  return hashes_of(
      run_tiny(tiny_config(scratch.path(), kind, overrides), ranks, {.run_directory = scratch.path()}));
}

Outcome run_part(const std::string& data, const std::string& directory, const Overrides& overrides,
                 int stop_after, bool resume, int ranks) {
  std::filesystem::create_directories(directory);
  const Config config = tiny_config(data, "images", overrides);
  std::atomic<int> asked{0};  // once per step and rank
  TrainingOptions options{.run_directory = directory, .resume = resume, .asked_to_stop = nullptr};
  if (stop_after > 0) {
    options.asked_to_stop = [&, ranks]() -> std::string {
      return ++asked > stop_after * ranks ? "SIGUSR1" : "";
    };
  }
  return run_tiny(config, ranks, options);
}

}  // namespace lockstep::trainer
