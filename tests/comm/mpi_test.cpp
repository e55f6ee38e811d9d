// The MPI binding, whole under mpirun.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/memory.h"
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

/// Two arrays of 2 GiB are too much for a test that always runs: set LOCKSTEP_TEST_LARGE.
TEST(Mpi, message_above_two_gib_arrives) {
  if (std::getenv("LOCKSTEP_TEST_LARGE") == nullptr)
    GTEST_SKIP() << "needs 5 GB; set LOCKSTEP_TEST_LARGE to run it";
  const auto transport = mpi_world().transport(60);
  const auto stream = make_stream(Device{});
  const std::int64_t count = (std::int64_t{1} << 31) + 1001;
  const bool sends = mpi_world().rank() == mpi_world().size() - 1;
  const bool receives = mpi_world().rank() == 0;
  const FlatArray out = make_array(Device{}, Dtype::u8, sends ? count : 0);
  const FlatArray in = make_array(Device{}, Dtype::u8, receives ? count : 0);
  if (sends) std::memset(out.span.data, 7, out.span.bytes());
  const Send send{0, out.span};
  const Recv receive{mpi_world().size() - 1, in.span};
  transport->transfer({&send, sends ? 1u : 0u}, {&receive, receives ? 1u : 0u}, {.name = "large"}, *stream);
  stream->synchronize();
  if (receives) {
    const auto bytes = in.span.as<std::uint8_t>();
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 7), count);
  }
}

TEST(Mpi, library_sum_has_no_sixteen_bit_floats) {
  const auto transport = mpi_world().transport(60);
  const auto stream = make_stream(Device{});
  std::vector<Bf16> data(4);
  EXPECT_FALSE(transport->library_sum(flat(std::span(data)), {.name = "library"}, *stream));
}

}  // namespace
}  // namespace lockstep::comm
