// The MPI binding, whole under mpirun.
#include <gtest/gtest.h>

#include "comm/collectives.h"
#include "comm/worlds.h"
#include "tests/comm/conformance.h"
#include "tests/support/mpi_main.h"

namespace lockstep::comm {
namespace {

using ::lockstep::testing::mpi_world;

TEST(Mpi, transport_conforms) { conformance::transport(mpi_world()); }
TEST(Mpi, collectives_conform) { conformance::movement(mpi_world()); }
TEST(Mpi, every_schedule_sums) {
  for (const auto& row : schedules().rows()) {
    SCOPED_TRACE(row.name);
    conformance::sums(mpi_world(), row.name);
  }
}

TEST(Mpi, world_describes_itself) {
  EXPECT_EQ(mpi_world().description().substr(0, 5), "mpi (");
  EXPECT_EQ(mpi_world().local_size(), mpi_world().size()) << "this test runs on one machine";
  EXPECT_EQ(mpi_world().local_rank(), mpi_world().rank());
  EXPECT_FALSE(mpi_world().host().empty());
}

TEST(Mpi, library_sum_is_the_transports_own) {
  const auto transport = mpi_world().transport(60);
  const auto stream = make_stream(Device{});
  std::vector<float> data(1001, 1);
  ASSERT_TRUE(transport->library_sum(flat(std::span(data)), {.name = "library"}, *stream));
  stream->synchronize();
  EXPECT_EQ(data[1000], static_cast<float>(mpi_world().size()));
  EXPECT_EQ(transport->traffic().messages, 0);
}

TEST(Mpi, library_sum_has_no_sixteen_bit_floats) {
  const auto transport = mpi_world().transport(60);
  const auto stream = make_stream(Device{});
  std::vector<Bf16> data(4);
  EXPECT_FALSE(transport->library_sum(flat(std::span(data)), {.name = "library"}, *stream));
}

}  // namespace
}  // namespace lockstep::comm
