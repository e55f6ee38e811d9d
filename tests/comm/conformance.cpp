#include "tests/comm/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "comm/movement.h"
#include "core/memory.h"

namespace lockstep::comm::conformance {

namespace {

constexpr double kDeadline_s = 60;
constexpr Dtype kAllDtypes[] = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16,
                                Dtype::i64, Dtype::i32, Dtype::u16,  Dtype::u8};

std::vector<std::int64_t> sizes() { return {0, 1, 2, 3, 7919, 50'021}; }

/// A byte that tells sender, receiver, place and message apart.
std::uint8_t mark(int from, int to, std::size_t i, int message) {
  return static_cast<std::uint8_t>(static_cast<std::size_t>(from * 31 + to * 7 + message * 13) + i * 3 +
                                   (i >> 8));
}

struct Bytes {
  Bytes(Dtype dtype, std::int64_t count) : array(make_array(Device{}, dtype, count)) {}
  std::span<std::uint8_t> all() { return {static_cast<std::uint8_t*>(array.span.data), array.span.bytes()}; }
  void fill(int from, int to, int message) {
    const auto bytes = all();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = mark(from, to, i, message);
  }
  void expect(int from, int to, int message) {
    const auto bytes = all();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) wrong += bytes[i] != mark(from, to, i, message) ? 1 : 0;
    EXPECT_EQ(wrong, 0u) << "from " << from << " to " << to << ", " << bytes.size() << " bytes";
  }
  FlatArray array;
};

/// Everyone sends to everyone, itself included; returns after checking.
void all_to_all(Transport& transport, Stream& stream, Dtype dtype, std::int64_t count) {
  const int me = transport.rank();
  std::vector<Bytes> out;
  std::vector<Bytes> in;
  std::vector<Send> sends;
  std::vector<Recv> receives;
  for (int peer = 0; peer < transport.size(); ++peer) {
    out.emplace_back(dtype, count).fill(me, peer, 0);
    in.emplace_back(dtype, count);
  }
  for (int peer = 0; peer < transport.size(); ++peer) {
    sends.push_back({peer, out[static_cast<std::size_t>(peer)].array.span});
    receives.push_back({peer, in[static_cast<std::size_t>(peer)].array.span});
  }
  transport.transfer(sends, receives, {.name = "all-to-all"}, stream);
  stream.synchronize();
  for (int peer = 0; peer < transport.size(); ++peer) in[static_cast<std::size_t>(peer)].expect(peer, me, 0);
}

/// Three messages to the right in two transfers, three from the left in other portions: order per pair must
/// hold.
void keeps_order(Transport& transport, Stream& stream) {
  const int me = transport.rank();
  const int right = (me + 1) % transport.size();
  const int left = (me + transport.size() - 1) % transport.size();
  std::vector<Bytes> out;
  std::vector<Bytes> in;
  for (int message = 0; message < 3; ++message) {
    out.emplace_back(Dtype::u8, 1000).fill(me, right, message);
    in.emplace_back(Dtype::u8, 1000);
  }
  const std::vector<Send> sends{
      {right, out[0].array.span}, {right, out[1].array.span}, {right, out[2].array.span}};
  const std::vector<Recv> receives{
      {left, in[0].array.span}, {left, in[1].array.span}, {left, in[2].array.span}};
  transport.transfer(std::span(sends).first(1), std::span(receives).first(1), {.name = "order"}, stream);
  transport.transfer(std::span(sends).last(2), std::span(receives).last(2), {.name = "order"}, stream);
  stream.synchronize();
  for (int message = 0; message < 3; ++message)
    in[static_cast<std::size_t>(message)].expect(left, me, message);
}

/// Two transports used at once by two streams, in opposite order on odd ranks: messages must not meet.
void duplicates_are_apart(Transport& first) {
  const std::unique_ptr<Transport> second = first.duplicate();
  const auto stream_a = make_stream(Device{}, {.name = "a"});
  const auto stream_b = make_stream(Device{}, {.name = "b"});
  const int me = first.rank();
  const int right = (me + 1) % first.size();
  const int left = (me + first.size() - 1) % first.size();
  Bytes out_a(Dtype::u8, 5000), out_b(Dtype::u8, 5000), in_a(Dtype::u8, 5000), in_b(Dtype::u8, 5000);
  out_a.fill(me, right, 1);
  out_b.fill(me, right, 2);
  const auto start = [&](Transport& transport, Bytes& out, Bytes& in, Stream& stream) {
    const Send send{right, out.array.span};
    const Recv receive{left, in.array.span};
    transport.transfer({&send, 1}, {&receive, 1}, {.name = "ring"}, stream);
  };
  if (me % 2 == 0) {
    start(first, out_a, in_a, *stream_a);
    stream_a->synchronize();
  }
  start(*second, out_b, in_b, *stream_b);
  if (me % 2 == 1) start(first, out_a, in_a, *stream_a);
  stream_a->synchronize();
  stream_b->synchronize();
  in_a.expect(left, me, 1);
  in_b.expect(left, me, 2);
}

void gathers(Collectives& collectives, Stream& stream, std::int64_t count) {
  const int ranks = collectives.size();
  std::vector<std::int64_t> mine(static_cast<std::size_t>(count), 1000 * collectives.rank());
  std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(ranks), -1);
  collectives.gather(flat(std::span(mine)), flat(std::span(all)), stream);
  stream.synchronize();
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i], 1000 * static_cast<std::int64_t>(i / mine.size()))
        << "element " << i << " of " << all.size();
  }
}

void broadcasts(Collectives& collectives, Stream& stream, int root, std::int64_t count) {
  Bytes data(Dtype::f32, count);
  data.fill(collectives.rank(), 0, 0);
  collectives.broadcast(data.array.span, root, stream);
  stream.synchronize();
  data.expect(root, 0, 0);
}

/// A value of element i on `rank` whose sums over ranks are exact in every dtype.
int exact_value(int rank, std::int64_t i) { return static_cast<int>((i * 7 + rank * 5) % 13) - 6; }

template <class T>
void sums_exactly(Collectives& collectives, Stream& stream, std::int64_t count) {
  std::vector<T> data(static_cast<std::size_t>(count));
  const auto as_value = [](int value) {
    if constexpr (std::is_arithmetic_v<T>) {
      return static_cast<T>(value);
    } else {
      return T(static_cast<float>(value));
    }
  };
  for (std::int64_t i = 0; i < count; ++i)
    data[static_cast<std::size_t>(i)] = as_value(exact_value(collectives.rank(), i));
  collectives.sum(flat(std::span<T>(data)), stream);
  stream.synchronize();
  for (std::int64_t i = 0; i < count; ++i) {
    int total = 0;
    for (int rank = 0; rank < collectives.size(); ++rank) total += exact_value(rank, i);
    const T expected = as_value(total);
    ASSERT_EQ(std::memcmp(&data[static_cast<std::size_t>(i)], &expected, sizeof(T)), 0)
        << "element " << i << " of " << count << " over " << collectives.size() << " ranks";
  }
}

/// Inexact sums: rounding differs by order of addition, so only a common order gives common bits.
void sums_same_bits_everywhere(Collectives& collectives, Stream& stream) {
  std::vector<float> data(10'007);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = 1.0f / static_cast<float>(i * 3 + static_cast<std::size_t>(collectives.rank()) * 17 + 1);
  }
  collectives.sum(flat(std::span(data)), stream);
  std::vector<float> all(data.size() * static_cast<std::size_t>(collectives.size()));
  collectives.gather(flat(std::span(data)), flat(std::span(all)), stream);
  stream.synchronize();
  for (std::size_t at = 0; at < all.size(); at += data.size()) {
    EXPECT_EQ(std::memcmp(&all[at], data.data(), data.size() * sizeof(float)), 0)
        << "rank " << at / data.size();
  }
}

/// What one collective sends on this rank, as the transport counts it.
template <class Work>
Traffic traffic_of(Collectives& collectives, Stream& stream, const Work& work) {
  const Traffic before = collectives.traffic();
  work();
  stream.synchronize();
  const Traffic after = collectives.traffic();
  return {after.messages - before.messages, after.bytes - before.bytes};
}

void expect_cost(const Traffic& counted, const Plan& plan, std::int64_t width) {
  EXPECT_EQ(counted.messages, plan.cost().messages);
  EXPECT_EQ(counted.bytes, plan.cost().elements * width);
}

/// Messages and bytes of gather, broadcast and barrier are those of their plans.
void costs_as_planned(Collectives& collectives, Stream& stream) {
  const int rank = collectives.rank();
  const int ranks = collectives.size();
  for (const std::int64_t count : sizes()) {
    std::vector<double> mine(static_cast<std::size_t>(count));
    std::vector<double> all(mine.size() * static_cast<std::size_t>(ranks));
    expect_cost(traffic_of(collectives, stream,
                           [&] { collectives.gather(flat(std::span(mine)), flat(std::span(all)), stream); }),
                gather_plan(rank, ranks, count), 8);
    expect_cost(traffic_of(collectives, stream,
                           [&] { collectives.broadcast(flat(std::span(mine)), ranks - 1, stream); }),
                broadcast_plan(rank, ranks, ranks - 1, count), 8);
  }
  expect_cost(traffic_of(collectives, stream, [&] { collectives.barrier(stream); }),
              barrier_plan(rank, ranks), 1);
}

void controls(World& world) {
  Control control(make_collectives(world.transport(kDeadline_s), schedule_called("ring")));
  const int ranks = world.size();
  EXPECT_EQ(control.sum(world.rank() + 1.0), ranks * (ranks + 1) / 2.0);
  EXPECT_EQ(control.maximum(-2.0 - world.rank()), -2.0);
  const std::vector<std::int64_t> values = control.gather(std::int64_t{10} * world.rank());
  const std::vector<std::string> texts =
      control.gather(std::string(static_cast<std::size_t>(world.rank() * 3), 'x'));
  ASSERT_EQ(values.size(), static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(values[static_cast<std::size_t>(rank)], 10 * rank);
    EXPECT_EQ(texts[static_cast<std::size_t>(rank)], std::string(static_cast<std::size_t>(rank * 3), 'x'));
  }
  EXPECT_EQ(control.broadcast("from rank " + std::to_string(world.rank()), ranks - 1),
            "from rank " + std::to_string(ranks - 1));
  EXPECT_EQ(control.broadcast(""), "");
  control.barrier();
}

}  // namespace

std::shared_ptr<const Schedule> schedule_called(std::string_view name) {
  return schedules().create(name, Options::of(schedules().row(name).settings));
}

void transport(World& world) {
  const std::unique_ptr<Transport> transport = world.transport(kDeadline_s);
  ASSERT_EQ(transport->rank(), world.rank());
  ASSERT_EQ(transport->size(), world.size());
  const auto stream = make_stream(Device{}, {.name = "comm"});
  for (const Dtype dtype : kAllDtypes) all_to_all(*transport, *stream, dtype, 101);
  const Traffic before = transport->traffic();
  std::int64_t elements = 0;
  for (const std::int64_t count : sizes()) {
    all_to_all(*transport, *stream, Dtype::f32, count);
    elements += count;
  }
  const Traffic after = transport->traffic();
  EXPECT_EQ(after.bytes - before.bytes, elements * 4 * world.size());
  EXPECT_EQ(after.messages - before.messages, 5 * world.size()) << "the empty message is not sent";
  keeps_order(*transport, *stream);
  duplicates_are_apart(*transport);
}

void movement(World& world) {
  const auto collectives = make_collectives(world.transport(kDeadline_s), schedule_called("ring"));
  const auto stream = make_stream(Device{}, {.name = "comm"});
  for (const std::int64_t count : sizes()) {
    gathers(*collectives, *stream, count);
    for (int root = 0; root < world.size(); ++root) {
      if (count < 1000 || root == world.size() - 1) broadcasts(*collectives, *stream, root, count);
    }
  }
  collectives->barrier(*stream);
  stream->synchronize();
  costs_as_planned(*collectives, *stream);
  controls(world);
}

void sums(World& world, std::string_view schedule) {
  const auto collectives = make_collectives(world.transport(kDeadline_s), schedule_called(schedule));
  const auto stream = make_stream(Device{}, {.name = "comm"});
  for (const std::int64_t count : sizes()) {
    sums_exactly<float>(*collectives, *stream, count);
    if (count > 1000) continue;
    sums_exactly<double>(*collectives, *stream, count);
    sums_exactly<Bf16>(*collectives, *stream, count);
    sums_exactly<F16>(*collectives, *stream, count);
    sums_exactly<std::int64_t>(*collectives, *stream, count);
    sums_exactly<std::int32_t>(*collectives, *stream, count);
  }
  sums_same_bits_everywhere(*collectives, *stream);
}

}  // namespace lockstep::comm::conformance
