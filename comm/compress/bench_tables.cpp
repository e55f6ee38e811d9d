// The rows of a compression benchmark as tables, and as JSON.
#include <spdlog/fmt/fmt.h>

#include <nlohmann/json.hpp>

#include "comm/compress/bench_averaging.h"
#include "comm/compress/bench_compress.h"

namespace lockstep::comm {

std::string codec_table(const std::vector<CodecRow>& rows, Device device) {
  std::string text = fmt::format(
      "# codecs on {}: GB/s over the fewest bytes each must read and write; part of what a copy of memory\n"
      "# reaches in the same rounds\n",
      device.kind == DeviceKind::cpu ? "one core" : name_of(device));
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
  std::string text =
      fmt::format("# exchange of {} gradients on {}: {} ranks, {}, rank 0 on {}\n", options.gradients,
                  name_of(options.device), world.size(), world.description(), world.host());
  text +=
      "# time: median over iterations of the slowest rank; encode, wire and decode of rank 0's last one (not "
      "known on GPUs)\n";
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

std::string averaging_table(const World& world, const std::vector<AveragingRow>& rows) {
  constexpr auto kHead =
      "#{:>11} {:>12}  {:<16} {:<22} {:>10} {:>10} {:>7} {:>8} {:>7} {:>12} {:>6} {:>9} {:>9} {:>9} {:>8} "
      "{:>7}\n";
  std::string text = fmt::format("# compressed average of f32: {} ranks, {}, rank 0 on {}\n", world.size(),
                                 world.description(), world.host());
  text +=
      "# time: median over iterations of the slowest rank, spread: (p75 - p25) / median; x exact: of the "
      "exact sum's speed\n"
      "# wire: sent by the busiest rank; error and cosine: of the first exchange, against the true mean\n"
      "# wrong: elements that are not the mean of what was sent; -: no residual tells what was sent\n";
  text += fmt::format(kHead, "size", "count", "schedule", "compressor", "time", "min", "spread", "algbw",
                      "x exact", "wire", "ratio", "encode", "decode", "error", "cosine", "#wrong");
  text += fmt::format(kHead, "(B)", "(elements)", "", "", "(us)", "(us)", "(%)", "(GB/s)", "", "(B)", "",
                      "(us)", "(us)", "", "", "");
  for (const AveragingRow& row : rows) {
    text += fmt::format(
        " {:>11} {:>12}  {:<16} {:<22} {:>10.1f} {:>10.1f} {:>7.1f} {:>8.3f} {:>7.2f} {:>12} {:>6.2f} "
        "{:>9.1f} "
        "{:>9.1f} {:>9.2e} {:>8.5f} {:>7}\n",
        row.bytes, row.count, row.schedule, row.compressor, row.median_s * 1e6, row.min_s * 1e6,
        row.spread * 100, row.algbw / 1e9, row.speedup, row.wire_bytes, row.ratio, row.encode_s * 1e6,
        row.decode_s * 1e6, row.relative_error, row.cosine, row.wrong ? std::to_string(*row.wrong) : "-");
  }
  return text;
}

std::string averaging_json(const World& world, const std::vector<AveragingRow>& rows) {
  using Json = nlohmann::ordered_json;
  Json out{{"ranks", world.size()},
           {"world", world.description()},
           {"host", world.host()},
           {"rows", Json::array()}};
  for (const AveragingRow& row : rows) {
    out["rows"].push_back({{"bytes", row.bytes},
                           {"count", row.count},
                           {"schedule", row.schedule},
                           {"compressor", row.compressor},
                           {"time_us", row.median_s * 1e6},
                           {"min_us", row.min_s * 1e6},
                           {"spread", row.spread},
                           {"algbw_gb_s", row.algbw / 1e9},
                           {"speedup", row.speedup},
                           {"wire_bytes", row.wire_bytes},
                           {"ratio", row.ratio},
                           {"encode_us", row.encode_s * 1e6},
                           {"decode_us", row.decode_s * 1e6},
                           {"relative_error", row.relative_error},
                           {"cosine", row.cosine},
                           {"wrong", row.wrong ? Json(*row.wrong) : Json()}});
  }
  return out.dump(2);
}

}  // namespace lockstep::comm
