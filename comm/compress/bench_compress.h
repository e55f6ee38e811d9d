// Measures compression. Codecs alone: seconds to encode and decode on one core or one GPU, as bandwidth over
// the fewest bytes they must read and write, beside plain copies of memory in the same run. Whole exchanges:
// a model's gradients by each compressor and schedule, with the bytes sent, beside the exact exchange.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/bench_allreduce.h"
#include "core/parameters.h"

namespace lockstep::comm {

struct CodecRow {
  std::string codec;
  std::int64_t values = 0;
  std::int64_t payload = 0;    ///< bytes
  double ratio = 0;            ///< of the values' 4 bytes to the payload
  double encode = 0;           ///< bytes per second: values read, payload written
  double encode_feedback = 0;  ///< and the residual written
  double decode = 0;           ///< payload read, values written
  double copy = 0;             ///< of memory, read and written, in the same round
};

/// Every codec on `values` normal numbers; the best of `rounds`. On one core or one GPU; needs no peers.
/// Throws Fault::config for none of either.
[[nodiscard]] std::vector<CodecRow> bench_codecs(std::int64_t values, int rounds, Device device);

struct CompressBench {
  std::string gradients = "vgg16";       ///< see gradient_layout()
  std::vector<std::string> compressors;  ///< empty: all; "name:key=value,..." gives settings
  std::vector<BenchSchedule> schedules;
  int warmup = 1;
  int iterations = 5;
  double deadline_s = 300;
  std::int64_t bucket_bytes = 25 << 20;
  Device device = {};  ///< of this rank's gradients
  std::string transport = "auto";
};

struct CompressRow {
  std::string compressor;
  std::string schedule;
  std::int64_t dense_bytes = 0;  ///< of the gradients as f32
  std::int64_t wire_bytes = 0;   ///< sent by the busiest rank in a step
  double median_s = 0;           ///< over iterations, each the slowest rank's
  double min_s = 0;
  double spread = 0;                              ///< (75th - 25th percentile) / median
  double encode_s = 0, wire_s = 0, decode_s = 0;  ///< of rank 0's last iteration; on a host only
  double speedup = 0;  ///< of the median against the exact exchange by the same schedule
};

/// "vgg16" (VGG-16 for small images, 14.7 M parameters), "gpt" (6 layers of width 384, 10.8 M), or a number
/// of elements with K or M: one matrix of about that many. Throws Fault::config for other words.
[[nodiscard]] SlotLayout gradient_layout(const std::string& name);

/// Throws Fault::config for what bench_compress() would refuse, before anything is measured.
void check_bench(const CompressBench& options);

/// Collective; blocks. "none" is always measured first.
[[nodiscard]] std::vector<CompressRow> bench_compress(World& world, const CompressBench& options);

[[nodiscard]] std::string codec_table(const std::vector<CodecRow>& rows, Device device);
[[nodiscard]] std::string compress_table(const World& world, const CompressBench& options,
                                         const std::vector<CompressRow>& rows);
[[nodiscard]] std::string compress_json(const World& world, const CompressBench& options,
                                        const std::vector<CodecRow>& codecs,
                                        const std::vector<CompressRow>& rows);

}  // namespace lockstep::comm
