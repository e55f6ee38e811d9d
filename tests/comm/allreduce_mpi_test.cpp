// Every schedule over real MPI messages, with exact sums, equal bits and counted cost; run at 1, 2, 3 and 4
// ranks.
#include <gtest/gtest.h>

#include "comm/bench_allreduce.h"
#include "comm/exchange.h"
#include "tests/comm/shared_checks.h"
#include "tests/support/mpi_main.h"

namespace lockstep::comm {
namespace {

World& world() { return lockstep::testing::mpi_world(); }

TEST(AllreduceOverMpi, every_schedule_sums_with_its_stated_cost) {
  expect_all_schedules_sum(world(), 10'007);
}

TEST(AllreduceOverMpi, a_large_array_sums_with_its_stated_cost) {
  for (const NamedSchedule& chosen : all_schedules()) {
    Summer summer(world(), chosen);
    if (!has_tiny_segments(chosen.name)) expect_exact_sum<float>(summer, 1'000'003);
  }
}

TEST(SharedMemoryOverMpi, owned_arrays_sum_to_the_bits_of_the_plan) {
  if (world().size() > 1) expect_sums_in_owned_memory(world());
}
TEST(SharedMemoryOverMpi, other_arrays_are_staged) { expect_staged_sums(world()); }
TEST(SharedMemoryOverMpi, sums_in_a_row_do_not_meet) {
  if (world().size() > 1) expect_sums_in_a_row(world());
}

TEST(AllreduceOverMpi, benchmark_finds_nothing_wrong) {
  const auto rows =
      bench_allreduce(world(), {.max_bytes = 1 << 16, .iterations = 2, .schedules = bench_schedules({})});
  for (const AllreduceRow& row : rows)
    EXPECT_EQ(row.wrong, 0) << row.schedule << ", " << row.bytes << " bytes";
}

TEST(ExchangeOverMpi, buckets_of_two_steps_sum) {
  const SlotLayout layout({{"a", Shape{100}}, {"b", Shape{7}}, {"c", Shape{20'000}}, {"d", Shape{64}}});
  const FlatArray gradients = make_array(Device{}, Dtype::f32, layout.stored_count());
  const auto values = gradients.span.as<float>();
  const auto compute = make_stream(Device{});
  const auto collectives = make_collectives(world().transport(60), schedule_named("halving_doubling"));
  const auto exchange =
      make_exchange(layout, *collectives, {.bucket_bytes = 4096, .first_bucket_bytes = 256});
  for (int step = 1; step <= 2; ++step) {
    std::fill(values.begin(), values.end(), static_cast<float>(step * (world().rank() + 1)));
    exchange->begin(gradients.span);
    for (int slot = 1; slot <= 4; ++slot) exchange->complete(slot, compute->record());
    exchange->finish(*compute);
    compute->synchronize();
    const float sum = static_cast<float>(step * world().size() * (world().size() + 1)) / 2;
    for (float x : values) ASSERT_EQ(x, sum);
  }
}

}  // namespace
}  // namespace lockstep::comm
