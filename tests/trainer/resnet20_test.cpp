// The published ResNet-20 weights on real CIFAR-10 records: the logits of the original and exactly its 3688
// right answers of 4000.
#include <gtest/gtest.h>
#include <lzma.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "core/stream.h"
#include "data/hdf5_file.h"
#include "models/executor.h"
#include "tests/models/model_support.h"
#include "trainer/weights.h"

namespace lockstep::trainer {
namespace {

constexpr std::int64_t kRecords = 4000;
constexpr std::size_t kPixels = 3 * 32 * 32;
constexpr std::size_t kRecordBytes = 1 + kPixels;
constexpr std::int64_t kClasses = 10;

std::string shared(const std::string& file) { return std::string(LOCKSTEP_SHARED_DATA) + "/" + file; }
const std::string kWeights = shared("resnet-cifar-weights/resnet20_dev.h5");
const std::string kTest = shared("cifar10/dev_test.bin.xz");

std::vector<std::uint8_t> unpacked(const std::string& path, std::size_t bytes) {
  std::ifstream file(path, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::uint8_t> result(bytes);
  std::uint64_t memory = UINT64_MAX;
  std::size_t in = 0, out = 0;
  const auto code =
      lzma_stream_buffer_decode(&memory, 0, nullptr, reinterpret_cast<const std::uint8_t*>(packed.data()),
                                &in, packed.size(), result.data(), &out, result.size());
  EXPECT_EQ(code, LZMA_OK);
  EXPECT_EQ(out, bytes);
  return result;
}

/// Normalised as the weights' file says.
std::vector<float> image(const std::uint8_t* record) {
  constexpr std::array<float, 3> kMean{0.485f, 0.456f, 0.406f}, kDeviation{0.229f, 0.224f, 0.225f};
  std::vector<float> pixels(kPixels);
  for (std::size_t i = 0; i < kPixels; ++i) {
    const std::size_t plane = i / 1024;
    pixels[i] = (static_cast<float>(record[1 + i]) / 255.f - kMean[plane]) / kDeviation[plane];
  }
  return pixels;
}

/// Logits of the first `records` records by a backend.
std::vector<float> logits_of(models::Backend& backend, const std::vector<std::uint8_t>& data,
                             std::int64_t records, std::int64_t microbatch) {
  const auto model = models::make_model("resnet");
  const auto graph = models::build_graph(*model, models::images({3, 32, 32}, kClasses), microbatch, nullptr);
  const auto executor = models::make_executor(graph, backend, {.training = false});
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), backend.device());
  models::initialise(graph, 1, store);
  load_weights(kWeights, *model, store);

  const auto stream = make_stream(backend.device(), {.threads = 2});
  models::Pass pass;
  pass.mode = models::Mode::evaluate;
  pass.values = pass.working = store.values();
  pass.state = store.state();
  std::vector<float> logits(static_cast<std::size_t>(records * kClasses));
  for (std::int64_t first = 0; first < records; first += microbatch) {
    std::vector<float> input;
    for (std::int64_t i = first; i < first + microbatch; ++i) {
      std::ranges::copy(image(data.data() + static_cast<std::size_t>(i) * kRecordBytes),
                        std::back_inserter(input));
    }
    executor->feed(input.data(), nullptr, *stream);
    executor->forward(pass, *stream);
    executor->read_prediction(logits.data() + first * kClasses, *stream);
    stream->synchronize();
  }
  return logits;
}

std::int64_t correct(const std::vector<float>& logits, const std::vector<std::uint8_t>& data) {
  std::int64_t right = 0;
  for (std::size_t i = 0; i < logits.size() / kClasses; ++i) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * kClasses);
    right += std::max_element(row, row + kClasses) - row == data[i * kRecordBytes];
  }
  return right;
}

void expect_near_published(const std::vector<float>& logits) {
  std::vector<float> published(kRecords * kClasses);
  data::Hdf5File::open(kWeights).dataset("/reference/logits_dev_test").read(flat(std::span(published)));
  double worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(logits[i] - published[i])));
  }
  EXPECT_LT(worst, 1e-3);
}

class ResNet20 : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kWeights) || !std::filesystem::exists(kTest)) {
      GTEST_SKIP() << "cifar10 or resnet-cifar-weights is not here";
    }
    data_ = unpacked(kTest, kRecords * kRecordBytes);
  }
  std::vector<std::uint8_t> data_;
};

TEST_F(ResNet20, reference_backend_gives_the_published_logits) {
  const auto backend = models::make_backend("reference", {});
  expect_near_published(logits_of(*backend, data_, 8, 4));
}

TEST_F(ResNet20, cpu_backend_gets_3688_of_4000_right_with_the_published_logits) {
  std::unique_ptr<models::Backend> backend;
  try {
    models::BackendOptions options;
    options.threads = 2;
    backend = models::make_backend("cpu", options);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const auto logits = logits_of(*backend, data_, kRecords, 100);
  EXPECT_EQ(correct(logits, data_), 3688);
  expect_near_published(logits);
}

}  // namespace
}  // namespace lockstep::trainer
