// The vector kernels on a GPU beside the host's, at sizes around packs, warps and blocks.
#include "core/vector/vector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/memory.h"
#include "tests/support/gpu.h"

namespace lockstep {
namespace {

constexpr std::int64_t kCounts[] = {0, 1, 3, 4, 15, 17, 1009, 4097, 100'003, 1'000'000};
constexpr Dtype kFloats[] = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16};

/// An array on the host and its twin on the GPU.
struct Twin {
  FlatArray host, gpu;
  Twin(Dtype dtype, std::int64_t count, unsigned seed = 0)
      : host(make_array({}, dtype, count)), gpu(make_array(kGpu, dtype, count)) {
    if (seed == 0) return;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 3);
    FlatArray numbers = make_array({}, Dtype::f32, count);
    for (float& value : numbers.span.as<float>()) value = normal(random);
    const auto stream = make_stream(Device{});
    vector::cast(numbers.span, host.span, *stream);
    stream->synchronize();
    copy_from_host(host.span.data, gpu.span);
  }
  [[nodiscard]] std::vector<char> bytes_of_host() const {
    const auto* first = static_cast<const char*>(host.span.data);
    return {first, first + host.span.bytes()};
  }
  [[nodiscard]] std::vector<char> bytes_of_gpu() const {
    std::vector<char> bytes(gpu.span.bytes());
    copy_to_host(gpu.span, bytes.data());
    return bytes;
  }
};

class GpuVector : public ::testing::Test {
 protected:
  void SetUp() override {
    LOCKSTEP_NEEDS_VISIBLE_GPU();
    host_ = make_stream(Device{});
    gpu_ = make_stream(kGpu);
  }
  void synchronize() {
    host_->synchronize();
    gpu_->synchronize();
  }
  std::unique_ptr<Stream> host_, gpu_;
};

TEST_F(GpuVector, fill_agrees_for_every_dtype) {
  for (const Dtype dtype :
       {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16, Dtype::i64, Dtype::i32, Dtype::u8}) {
    for (const std::int64_t count : kCounts) {
      const Twin x(dtype, count);
      vector::fill(x.host.span, 2.5f, *host_);
      vector::fill(x.gpu.span, 2.5f, *gpu_);
      synchronize();
      ASSERT_EQ(x.bytes_of_host(), x.bytes_of_gpu()) << name_of(dtype) << " " << count;
    }
  }
}

TEST_F(GpuVector, cast_rounds_as_the_host_does) {
  for (const Dtype from : kFloats) {
    for (const Dtype to : kFloats) {
      for (const std::int64_t count : kCounts) {
        const Twin x(from, count, 1), y(to, count);
        vector::cast(x.host.span, y.host.span, *host_);
        vector::cast(x.gpu.span, y.gpu.span, *gpu_);
        synchronize();
        ASSERT_EQ(y.bytes_of_host(), y.bytes_of_gpu())
            << name_of(from) << " to " << name_of(to) << " " << count;
      }
    }
  }
}

TEST_F(GpuVector, sum_has_the_hosts_bits_also_in_place_and_unaligned) {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16}) {
    for (const std::int64_t count : kCounts) {
      for (const std::int64_t skip : {0, 1}) {
        if (count < skip) continue;
        const Twin x(dtype, count, 1), y(dtype, count, 2);
        const auto part = [&](const FlatArray& array) { return array.span.part(skip, count - skip); };
        vector::sum(part(x.host), part(y.host), part(y.host), *host_);
        vector::sum(part(x.gpu), part(y.gpu), part(y.gpu), *gpu_);
        synchronize();
        ASSERT_EQ(y.bytes_of_host(), y.bytes_of_gpu()) << name_of(dtype) << " " << count << " from " << skip;
      }
    }
  }
}

TEST_F(GpuVector, axpy_and_scale_have_the_hosts_bits) {
  for (const std::int64_t count : kCounts) {
    const Twin x(Dtype::f32, count, 1), y(Dtype::f32, count, 2);
    vector::axpy(0.3f, x.host.span, y.host.span, *host_);
    vector::axpy(0.3f, x.gpu.span, y.gpu.span, *gpu_);
    vector::scale(1.7f, y.host.span, *host_);
    vector::scale(1.7f, y.gpu.span, *gpu_);
    synchronize();
    ASSERT_EQ(y.bytes_of_host(), y.bytes_of_gpu()) << count;
  }
}

TEST_F(GpuVector, sum_of_squares_agrees_and_repeats) {
  for (const Dtype dtype : kFloats) {
    for (const std::int64_t count : kCounts) {
      const Twin x(dtype, count, 1), total(Dtype::f64, 1), again(Dtype::f64, 1);
      vector::sum_of_squares(x.host.span, total.host.span, *host_);
      vector::sum_of_squares(x.gpu.span, total.gpu.span, *gpu_);
      vector::sum_of_squares(x.gpu.span, again.gpu.span, *gpu_);
      synchronize();
      double host = 0, gpu = 0;
      copy_to_host(total.host.span, &host);
      copy_to_host(total.gpu.span, &gpu);
      EXPECT_NEAR(host, gpu, 1e-12 * host) << name_of(dtype) << " " << count;
      EXPECT_EQ(total.bytes_of_gpu(), again.bytes_of_gpu());
    }
  }
}

TEST_F(GpuVector, nonfinite_numbers_are_counted) {
  for (const std::int64_t count : {1, 17, 100'003}) {
    Twin x(Dtype::f32, count, 1);
    auto numbers = x.host.span.as<float>();
    numbers.front() = std::numeric_limits<float>::infinity();
    numbers.back() = std::numeric_limits<float>::quiet_NaN();
    copy_from_host(numbers.data(), x.gpu.span);
    const FlatArray found = make_array(kGpu, Dtype::i64, 1);
    vector::count_nonfinite(x.gpu.span, found.span, *gpu_);
    synchronize();
    std::int64_t number = 0;
    copy_to_host(found.span, &number);
    EXPECT_EQ(number, count == 1 ? 1 : 2);
  }
}

}  // namespace
}  // namespace lockstep
