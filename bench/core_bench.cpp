// What core/ costs: enqueueing on a stream, passing events between streams, and the bandwidth of the vector
// primitives beside that of memcpy. Bytes count every read and write of the loop, so the figures compare.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/hash.h"
#include "core/memory.h"
#include "core/stream.h"
#include "core/vector/vector.h"

namespace lockstep {
namespace {

void stream_enqueue(benchmark::State& state) {
  const auto stream = make_stream(Device{});
  std::int64_t ran = 0;
  for (auto _ : state) stream->host([&ran] { ++ran; });
  stream->synchronize();
  benchmark::DoNotOptimize(ran);
}
BENCHMARK(stream_enqueue);

/// A caller that stays at most 64 tasks ahead, as a training step does: cost per task with the worker keeping
/// up.
void stream_enqueue_and_drain(benchmark::State& state) {
  const auto stream = make_stream(Device{});
  std::int64_t ran = 0;
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) stream->host([&ran] { ++ran; });
    stream->synchronize();
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(stream_enqueue_and_drain)->UseRealTime();

void stream_record(benchmark::State& state) {
  const auto stream = make_stream(Device{});
  for (auto _ : state) benchmark::DoNotOptimize(stream->record());
  stream->synchronize();
}
BENCHMARK(stream_record);

/// Enqueue one task on an idle stream and wait for it: two thread wake-ups.
void stream_round_trip(benchmark::State& state) {
  const auto stream = make_stream(Device{});
  for (auto _ : state) {
    stream->host([] {});
    stream->synchronize();
  }
}
BENCHMARK(stream_round_trip)->UseRealTime();

void event_between_streams(benchmark::State& state) {
  const auto left = make_stream(Device{});
  const auto right = make_stream(Device{});
  for (auto _ : state) {
    right->wait(left->record());
    left->wait(right->record());
    left->synchronize();
  }
}
BENCHMARK(event_between_streams)->UseRealTime();

/// Runs `enqueue` once per iteration and reports the bandwidth for `bytes` moved each time.
template <class Enqueue>
void measure(benchmark::State& state, std::int64_t bytes, Enqueue enqueue) {
  const auto stream = make_stream(Device{});
  for (auto _ : state) {
    enqueue(*stream);
    stream->synchronize();
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}

FlatArray ones(Dtype dtype, std::int64_t count) {
  FlatArray array = make_array(Device{}, dtype, count);
  const auto stream = make_stream(Device{});
  vector::fill(array.span, 1, *stream);
  stream->synchronize();
  return array;
}

void copy_memcpy(benchmark::State& state) {
  const FlatArray from = ones(Dtype::f32, state.range(0));
  const FlatArray to = ones(Dtype::f32, state.range(0));
  measure(state, 8 * state.range(0), [&](Stream& stream) {
    stream.host([&] { std::memcpy(to.span.data, from.span.data, from.span.bytes()); });
  });
}

void vector_sum(benchmark::State& state) {
  const FlatArray left = ones(Dtype::f32, state.range(0));
  const FlatArray right = ones(Dtype::f32, state.range(0));
  const FlatArray out = ones(Dtype::f32, state.range(0));
  measure(state, 12 * state.range(0),
          [&](Stream& stream) { vector::sum(left.span, right.span, out.span, stream); });
}

void vector_add(benchmark::State& state) {
  const FlatArray x = ones(Dtype::f32, state.range(0));
  const FlatArray y = ones(Dtype::f32, state.range(0));
  measure(state, 12 * state.range(0), [&](Stream& stream) { vector::add(x.span, y.span, stream); });
}

void vector_add_bf16(benchmark::State& state) {
  const FlatArray x = ones(Dtype::bf16, state.range(0));
  const FlatArray y = ones(Dtype::bf16, state.range(0));
  measure(state, 6 * state.range(0), [&](Stream& stream) { vector::add(x.span, y.span, stream); });
}

void vector_axpy(benchmark::State& state) {
  const FlatArray x = ones(Dtype::f32, state.range(0));
  const FlatArray y = ones(Dtype::f32, state.range(0));
  measure(state, 12 * state.range(0), [&](Stream& stream) { vector::axpy(1e-9F, x.span, y.span, stream); });
}

void vector_cast(benchmark::State& state, Dtype from_dtype, Dtype to_dtype) {
  const FlatArray from = ones(from_dtype, state.range(0));
  const FlatArray to = ones(to_dtype, state.range(0));
  measure(state, static_cast<std::int64_t>(from.span.bytes() + to.span.bytes()),
          [&](Stream& stream) { vector::cast(from.span, to.span, stream); });
}
void cast_f32_bf16(benchmark::State& state) { vector_cast(state, Dtype::f32, Dtype::bf16); }
void cast_bf16_f32(benchmark::State& state) { vector_cast(state, Dtype::bf16, Dtype::f32); }
void cast_f32_f16(benchmark::State& state) { vector_cast(state, Dtype::f32, Dtype::f16); }
void cast_f16_f32(benchmark::State& state) { vector_cast(state, Dtype::f16, Dtype::f32); }

void vector_sum_of_squares(benchmark::State& state) {
  const FlatArray x = ones(Dtype::f32, state.range(0));
  const FlatArray result = ones(Dtype::f64, 1);
  measure(state, 4 * state.range(0),
          [&](Stream& stream) { vector::sum_of_squares(x.span, result.span, stream); });
}

void vector_count_nonfinite(benchmark::State& state) {
  const FlatArray x = ones(Dtype::f32, state.range(0));
  const FlatArray result = ones(Dtype::i64, 1);
  measure(state, 4 * state.range(0),
          [&](Stream& stream) { vector::count_nonfinite(x.span, result.span, stream); });
}

void hash(benchmark::State& state) {
  const FlatArray x = ones(Dtype::f32, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(hash_floats(x.span.as<float>()));
  state.SetBytesProcessed(state.iterations() * 4 * state.range(0));
}

// The CPU column counts the worker too: on a busy machine it is the honest one.
// 256 Ki elements lie in a level-2 or -3 cache; 16 Mi (64 MiB of f32) do not.
void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1 << 18)->Arg(1 << 24)->UseRealTime()->MeasureProcessCPUTime();
}
BENCHMARK(copy_memcpy)->Apply(sizes);
BENCHMARK(vector_sum)->Apply(sizes);
BENCHMARK(vector_add)->Apply(sizes);
BENCHMARK(vector_add_bf16)->Apply(sizes);
BENCHMARK(vector_axpy)->Apply(sizes);
BENCHMARK(cast_f32_bf16)->Apply(sizes);
BENCHMARK(cast_bf16_f32)->Apply(sizes);
BENCHMARK(cast_f32_f16)->Apply(sizes);
BENCHMARK(cast_f16_f32)->Apply(sizes);
BENCHMARK(vector_sum_of_squares)->Apply(sizes);
BENCHMARK(vector_count_nonfinite)->Apply(sizes);
BENCHMARK(hash)->Apply(sizes);

}  // namespace
}  // namespace lockstep
