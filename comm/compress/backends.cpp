// The table of devices that compressors work on, by which device folders are built.
#include "comm/compress/kernels.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

struct DeviceRow {
  DeviceKind kind;
  const Kernels* kernels;
  std::unique_ptr<Codec> (*make_codec)(const CodecSpec&);
};
constexpr DeviceRow kRows[] = {
    {DeviceKind::cpu, &cpu_compress_kernels, make_cpu_codec},
#ifdef LOCKSTEP_WITH_CUDA
    {DeviceKind::cuda, &cuda_compress_kernels, make_cuda_codec},
#endif
};

const DeviceRow& row_of(Device device) {
  for (const DeviceRow& row : kRows) {
    if (row.kind == device.kind) return row;
  }
  throw Error(Fault::device, "gradients on " + name_of(device) + " cannot be compressed in this build",
              "set compress.name to none");
}

}  // namespace

const Kernels& compress_kernels(Device device) { return *row_of(device).kernels; }

std::unique_ptr<Codec> make_codec(const CodecSpec& spec, Device device) {
  return row_of(device).make_codec(spec);
}

}  // namespace lockstep::comm
