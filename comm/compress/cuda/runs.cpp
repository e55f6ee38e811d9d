#include "comm/compress/cuda/runs.h"

#include <algorithm>

#include "core/cuda/on_device.h"

namespace lockstep::comm::gpu {

using lockstep::cuda::on_device;

RunNotes::RunNotes(const RunList& runs, Device device)
    : device_(device), table_(on_device(runs.list, device)) {}

void RunNotes::prepare_selection(const RunList& runs) {
  if (tiles_.bytes() > 0) return;
  std::vector<Tile> tiles;
  std::vector<std::int32_t> first_tiles;
  std::vector<std::int64_t> outputs;
  std::int64_t output = 0;
  for (const Selection& run : runs.list) {
    first_tiles.push_back(static_cast<std::int32_t>(tiles.size()));
    outputs.push_back(output);
    output += run.keep;
    for (std::int64_t at = 0; at < run.count; at += kTileElements) {
      tiles.push_back({run.first + at, static_cast<std::int32_t>(std::min(kTileElements, run.count - at)),
                       static_cast<std::int32_t>(first_tiles.size() - 1)});
    }
  }
  first_tiles.push_back(static_cast<std::int32_t>(tiles.size()));
  tile_count_ = static_cast<int>(tiles.size());
  counts_ = allocate(device_, tiles.size() * sizeof(std::uint64_t));
  first_tiles_ = on_device(first_tiles, device_);
  outputs_ = on_device(outputs, device_);
  states_ = allocate(device_, runs.list.size() * sizeof(RunState));
  histograms_ = allocate(device_, runs.list.size() * kBins * sizeof(std::uint32_t));
  tiles_ = on_device(tiles, device_);
}

RunNotes& notes_of(const RunList& runs, Device device) {
  if (runs.notes == nullptr) runs.notes = std::make_unique<RunNotes>(runs, device);
  return static_cast<RunNotes&>(*runs.notes);
}

}  // namespace lockstep::comm::gpu
