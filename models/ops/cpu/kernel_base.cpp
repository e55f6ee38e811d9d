#include "models/ops/cpu/kernel_base.h"

#include "core/threads.h"
#include "models/ops/cpu/storage.h"

namespace lockstep::models::cpu {

CpuKernel::CpuKernel(const Site& site) : CpuKernel(site, site.options.compute) {}

CpuKernel::CpuKernel(const Site& site, Dtype output_dtype)
    : BoundKernel(site, activation(site.output(), output_dtype)), threads_(site.options.threads) {}

void CpuKernel::forward(const Pass& pass, Stream& stream) {
  enqueue(stream, this, &CpuKernel::run_forward, pass);
}

void CpuKernel::backward(const Pass& pass, Stream& stream) {
  enqueue(stream, this, &CpuKernel::run_backward, pass);
}

LibraryThreads::LibraryThreads(int threads) : before_(library_threads()) { set_library_threads(threads); }
LibraryThreads::~LibraryThreads() { set_library_threads(before_); }

void CpuKernel::use_threads() const { set_library_threads(threads_); }

}  // namespace lockstep::models::cpu
