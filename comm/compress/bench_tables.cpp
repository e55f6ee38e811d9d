// The rows of a compression benchmark as tables, and as JSON.
#include <spdlog/fmt/fmt.h>

#include <nlohmann/json.hpp>

#include "comm/compress/bench_compress.h"

namespace lockstep::comm {

std::string codec_table(const std::vector<CodecRow>& rows) {
  std::string text =
      "# codecs on one core: GB/s over the fewest bytes each must read and write; part of what a copy of "
      "memory\n"
      "# reaches in the same rounds\n";
  text += fmt::format("#{:<17} {:>10} {:>10} {:>6}  {:>7} {:>5}  {:>9} {:>5}  {:>7} {:>5}  {:>7}\n", "codec",
                      "values", "payload", "ratio", "encode", "part", "+residual", "part", "decode", "part",
                      "copy");
  for (const CodecRow& row : rows) {
    text += fmt::format(
        " {:<17} {:>10} {:>10} {:>6.2f}  {:>7.2f} {:>5.2f}  {:>9.2f} {:>5.2f}  {:>7.2f} {:>5.2f}  {:>7.2f}\n",
        row.codec, row.values, row.payload, row.ratio, row.encode / 1e9, row.encode / row.copy,
        row.encode_feedback / 1e9, row.encode_feedback / row.copy, row.decode / 1e9, row.decode / row.copy,
        row.copy / 1e9);
  }
  return text;
}

std::string compress_table(const World& world, const CompressBench& options,
                           const std::vector<CompressRow>& rows) {
  std::string text = fmt::format("# exchange of {} gradients: {} ranks, {}, rank 0 on {}\n",
                                 options.gradients, world.size(), world.description(), world.host());
  text +=
      "# time: median over iterations of the slowest rank; encode, wire and decode of rank 0's last one\n";
  text += fmt::format("#{:<24} {:<20} {:>12} {:>7} {:>10} {:>7} {:>8} {:>9} {:>9} {:>9}\n", "compressor",
                      "schedule", "wire bytes", "ratio", "time ms", "spread", "speed-up", "encode ms",
                      "wire ms", "decode ms");
  for (const CompressRow& row : rows) {
    const double exact = 2.0 * (world.size() - 1) / world.size() * static_cast<double>(row.dense_bytes);
    const double ratio = row.wire_bytes > 0 ? exact / static_cast<double>(row.wire_bytes) : 0;
    text += fmt::format(
        " {:<24} {:<20} {:>12} {:>7.1f} {:>10.2f} {:>6.1f}% {:>8.2f} {:>9.2f} {:>9.2f} {:>9.2f}\n",
        row.compressor, row.schedule, row.wire_bytes, ratio, row.median_s * 1e3, row.spread * 100,
        row.speedup, row.encode_s * 1e3, row.wire_s * 1e3, row.decode_s * 1e3);
  }
  return text;
}

std::string compress_json(const World& world, const CompressBench& options,
                          const std::vector<CodecRow>& codecs, const std::vector<CompressRow>& rows) {
  using Json = nlohmann::ordered_json;
  Json out{{"ranks", world.size()},          {"world", world.description()}, {"host", world.host()},
           {"gradients", options.gradients}, {"codecs", Json::array()},      {"rows", Json::array()}};
  for (const CodecRow& row : codecs) {
    out["codecs"].push_back({{"codec", row.codec},
                             {"values", row.values},
                             {"payload", row.payload},
                             {"ratio", row.ratio},
                             {"encode_gb_s", row.encode / 1e9},
                             {"encode_feedback_gb_s", row.encode_feedback / 1e9},
                             {"decode_gb_s", row.decode / 1e9},
                             {"copy_gb_s", row.copy / 1e9}});
  }
  for (const CompressRow& row : rows) {
    out["rows"].push_back({{"compressor", row.compressor},
                           {"schedule", row.schedule},
                           {"dense_bytes", row.dense_bytes},
                           {"wire_bytes", row.wire_bytes},
                           {"time_ms", row.median_s * 1e3},
                           {"min_ms", row.min_s * 1e3},
                           {"spread", row.spread},
                           {"speedup", row.speedup},
                           {"encode_ms", row.encode_s * 1e3},
                           {"wire_ms", row.wire_s * 1e3},
                           {"decode_ms", row.decode_s * 1e3}});
  }
  return out.dump(2);
}

}  // namespace lockstep::comm
