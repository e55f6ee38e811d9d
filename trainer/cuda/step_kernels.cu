// The step's small work on the GPU: nothing here waits for the host.
#include "core/cuda/element.cuh"
#include "trainer/cuda/kernels.h"

namespace lockstep::trainer {

namespace {

using namespace lockstep::cuda;

__global__ void open_kernel(StepScalars* scalars, StepOpening opening) { open_step(*scalars, opening); }

__global__ void position_kernel(std::int64_t* position, std::int64_t value) { *position = value; }

__global__ void begin_tail_kernel(StepTail* tail, const StepScalars* scalars, bool first) {
  tail->loss = 0;
  tail->stop = first ? scalars->asked_to_stop : 0.0F;
}

__global__ void poison_kernel(StepTail* tail, const std::int64_t* nonfinite) {
  if (*nonfinite != 0) tail->loss = nanf("");
}

__device__ __forceinline__ std::int64_t now_ns() {
  std::int64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void begin_wait_kernel(StepScalars* scalars) { scalars->wait_began_ns = now_ns(); }
__global__ void end_wait_kernel(StepScalars* scalars) { add_wait(*scalars, now_ns()); }

__global__ void finish_kernel(StepScalars* scalars, const double* squares, const StepTail* tail,
                              StepRule rule) {
  finish_step(*scalars, sqrt(squares[0] + squares[1]), *tail, rule);
}

__global__ void state_kernel(float* state, const float* statistics, const float* shares, std::int64_t count,
                             const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  const float mean = scalars->mean;
  for (std::int64_t i = first_item(); i < count; i += stride())
    state[i] = (1.0F - shares[i]) * state[i] + shares[i] * (statistics[i] * mean);
}

__global__ void average_kernel(float4* average, const float4* values, std::int64_t quads, float keep,
                               const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  const float take = 1.0F - keep;
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    float4 kept = average[i];
    const float4 fresh = values[i];
    kept.x = keep * kept.x + take * fresh.x;
    kept.y = keep * kept.y + take * fresh.y;
    kept.z = keep * kept.z + take * fresh.z;
    kept.w = keep * kept.w + take * fresh.w;
    average[i] = kept;
  }
}

__global__ void acknowledge_kernel(StepScalars* scalars) { scalars->skip = kSkipNone; }

void open(StepScalars* scalars, const StepOpening& opening, Stream& stream) {
  open_kernel<<<1, 1, 0, native(stream)>>>(scalars, opening);
  check_launch("open_step");
}

void set_position(std::int64_t* position, std::int64_t value, Stream& stream) {
  position_kernel<<<1, 1, 0, native(stream)>>>(position, value);
  check_launch("set_position");
}

void begin_tail(StepTail* tail, const StepScalars* scalars, bool first, Stream& stream) {
  begin_tail_kernel<<<1, 1, 0, native(stream)>>>(tail, scalars, first);
  check_launch("begin_tail");
}

void poison(StepTail* tail, const std::int64_t* nonfinite, Stream& stream) {
  poison_kernel<<<1, 1, 0, native(stream)>>>(tail, nonfinite);
  check_launch("poison");
}

void begin_wait(StepScalars* scalars, Stream& stream) {
  begin_wait_kernel<<<1, 1, 0, native(stream)>>>(scalars);
  check_launch("begin_wait");
}

void end_wait(StepScalars* scalars, Stream& stream) {
  end_wait_kernel<<<1, 1, 0, native(stream)>>>(scalars);
  check_launch("end_wait");
}

void finish(StepScalars* scalars, const double* squares, const StepTail* tail, const StepRule& rule,
            Stream& stream) {
  finish_kernel<<<1, 1, 0, native(stream)>>>(scalars, squares, tail, rule);
  check_launch("finish_step");
}

void update_state(FlatSpan state, FlatSpan statistics, FlatSpan shares, const StepScalars* scalars,
                  Stream& stream) {
  state_kernel<<<blocks_for(state.count, state.device), kBlockThreads, 0, native(stream)>>>(
      static_cast<float*>(state.data), static_cast<const float*>(statistics.data),
      static_cast<const float*>(shares.data), state.count, scalars);
  check_launch("update_state");
}

/// Flat arrays are whole numbers of slot alignments, so they divide by four.
void update_average(FlatSpan average, FlatSpan values, float keep, const StepScalars* scalars,
                    Stream& stream) {
  if (average.count == 0) return;
  average_kernel<<<blocks_for(average.count / 4, average.device), kBlockThreads, 0, native(stream)>>>(
      static_cast<float4*>(average.data), static_cast<const float4*>(values.data), average.count / 4, keep,
      scalars);
  check_launch("update_average");
}

void read(const StepScalars* scalars, StepScalars* host, Stream& stream) {
  check(cudaMemcpyAsync(host, scalars, sizeof *host, cudaMemcpyDeviceToHost, native(stream)),
        "cudaMemcpyAsync");
}

void acknowledge(StepScalars* scalars, Stream& stream) {
  acknowledge_kernel<<<1, 1, 0, native(stream)>>>(scalars);
  check_launch("acknowledge");
}

/// The host enqueues everything itself, and a host task would hold the GPU up.
void note(Stream& /*stream*/, std::function<void()> work) { work(); }

}  // namespace

const StepKernels cuda_step_kernels = {
    .open = open,
    .set_position = set_position,
    .begin_tail = begin_tail,
    .poison = poison,
    .begin_wait = begin_wait,
    .end_wait = end_wait,
    .finish = finish,
    .update_state = update_state,
    .update_average = update_average,
    .read = read,
    .acknowledge = acknowledge,
    .note = note,
};

}  // namespace lockstep::trainer
