// Every schedule over the transports of GPU buffers: MPI, through page-locked memory and directly, and NCCL.
#include <algorithm>
#include <cctype>

#include "tests/comm/cuda/device_sums.h"

namespace lockstep::comm {
namespace {

constexpr const char* kDirect = "mpi:gpu_messages=direct";

class DeviceTransport : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (gpus() == 0) GTEST_SKIP() << "no GPU is visible";
    if (GetParam() == "nccl" && gpus() < world().local_size())
      GTEST_SKIP() << "NCCL needs a GPU a rank, but there are " << gpus();
    if (GetParam() == kDirect && !world().takes_gpu_memory())
      GTEST_SKIP() << world().description() << " takes no GPU memory";
  }
};

TEST_P(DeviceTransport, every_schedule_sums_exactly_with_its_stated_cost) {
  for (const auto& row : schedules().rows()) {
    if (row.name == "peer") continue;  // peer_test.cpp
    DeviceSummer summer(std::string(row.name), {}, GetParam());
    for (const std::int64_t count : {0, 1, 2, 97, 100'003}) {
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
        const FlatArray data = make_array(summer.site.device, dtype, count);
        const std::string what = std::string(row.name) + " over " + GetParam();
        if (dtype == Dtype::f32) expect_exact<float>(summer, data.span, what);
        if (dtype == Dtype::bf16) expect_exact<Bf16>(summer, data.span, what);
      }
    }
  }
}

TEST_P(DeviceTransport, library_sums_in_memory_that_the_transport_lends) {
  DeviceSummer summer("library", {}, GetParam());
  const FlatSpan lent = summer.lent(Dtype::f32, 1'000'003);
  if (lent.data == nullptr) GTEST_SKIP() << GetParam() << " lends no memory";
  expect_exact<float>(summer, lent, "library over " + GetParam() + ", lent memory");
}

INSTANTIATE_TEST_SUITE_P(transports, DeviceTransport,
                         ::testing::Values(kDirect, "mpi:gpu_messages=staged", "nccl"), [](const auto& each) {
                           std::string name = each.param;
                           std::replace_if(
                               name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace lockstep::comm
