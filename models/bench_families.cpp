#include "models/bench_families.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "core/recording.h"

namespace lockstep::models {
namespace {

struct Call {
  int kernel;
  bool backward;
};
using Calls = std::vector<Call>;

constexpr double kBatchSeconds =
    0.05;  // runs under one pair of clock readings, so that the device never waits

/// The median time of one of the runs that `enqueue` puts on the rig's stream.
double sustained(Rig& rig, double seconds, const std::function<void()>& enqueue) {
  const auto run = [&](int times) {
    return rig.timed([&] {
      for (int i = 0; i < times; ++i) enqueue();
    });
  };
  double total = run(1);
  const double alone = run(1);
  const int batch = std::max(1, static_cast<int>(kBatchSeconds / std::max(alone, 1e-6)));
  std::vector<double> times;
  do {
    const double spent = run(batch);
    total += spent;
    times.push_back(spent / batch);
  } while (total < seconds);
  return median(std::move(times));
}

/// The same, as one graph where the device has such.
double sustained_graph(Rig& rig, double seconds, const std::function<void()>& enqueue) {
  if (!can_record(rig.stream().device())) return sustained(rig, seconds, enqueue);
  const std::unique_ptr<Recording> recording = record_work(rig.stream(), enqueue);
  return sustained(rig, seconds, [&] { recording->run(rig.stream()); });
}

double sustained(Rig& rig, double seconds, const Calls& calls) {
  return sustained_graph(rig, seconds, [&] {
    for (const Call& call : calls) rig.enqueue_kernel(call.kernel, call.backward);
  });
}

/// Forwards in order, then backwards in reverse, of the kernels that `wanted` names.
Calls calls_of(const std::vector<NodeReport>& report, const std::function<bool(const NodeReport&)>& wanted) {
  Calls calls;
  const int kernels = static_cast<int>(report.size());
  for (int k = 0; k < kernels; ++k)
    if (wanted(report[static_cast<std::size_t>(k)])) calls.push_back({k, false});
  for (int k = kernels; k-- > 0;)
    if (wanted(report[static_cast<std::size_t>(k)])) calls.push_back({k, true});
  return calls;
}

/// Attention too is made of products.
bool is_product(const NodeReport& node) {
  const OpKind kind = kind_of(node.op);
  return kind == OpKind::convolution || kind == OpKind::product || kind == OpKind::attention;
}

std::vector<FamilyTime> families_of(const std::vector<NodeReport>& report) {
  std::map<std::string, FamilyTime> found;
  for (const NodeReport& node : report) {
    FamilyTime& family = found[node.op];
    family.operations = node.op;
    ++family.kernels;
    family.flops += node.work.forward_flops + node.work.backward_flops;
    family.bytes += node.work.forward_bytes + node.work.backward_bytes;
    family.products = is_product(node);
  }
  std::vector<FamilyTime> families;
  for (const auto& [operations, family] : found) families.push_back(family);
  return families;
}

/// Copies that are no part of a graph: those of a graph were slower on an H200 (2.8 TB/s).
double copy_rate(Rig& rig, double seconds) {
  const Device device = rig.stream().device();
  const std::int64_t bytes = std::int64_t{device.kind == DeviceKind::cuda ? 1024 : 64} << 20;
  const FlatArray from = make_array(device, Dtype::u8, bytes), to = make_array(device, Dtype::u8, bytes);
  const double each = sustained(rig, seconds, [&] { copy(from.span, to.span, rig.stream()); });
  return 2 * static_cast<double>(bytes) / each;
}

}  // namespace

OpKind kind_of(std::string_view operations) {
  const std::string_view op = operations.substr(0, operations.find('+'));
  if (op == "conv2d" || op == "conv_transpose2d") return OpKind::convolution;
  if (op == "linear" || op == "tied_linear") return OpKind::product;
  if (op == "batch_norm" || op == "layer_norm") return OpKind::norm;
  return op == "causal_attention" ? OpKind::attention : OpKind::other;
}

StepPieces measure_pieces(Rig& rig, double seconds) {
  const std::vector<NodeReport> report = rig.executor().report();
  StepPieces pieces;
  pieces.families = families_of(report);
  for (FamilyTime& family : pieces.families) {
    const auto same = [&](const NodeReport& node) { return node.op == family.operations; };
    family.seconds = sustained(rig, seconds, calls_of(report, same));
  }
  std::ranges::sort(pieces.families, std::greater{}, &FamilyTime::seconds);
  pieces.products_s = sustained(rig, seconds, calls_of(report, is_product));
  pieces.kernels_s = sustained(rig, seconds, calls_of(report, [](const NodeReport&) { return true; }));
  if (rig.has_update()) pieces.update_s = sustained_graph(rig, seconds, [&] { rig.enqueue_update(); });
  pieces.copy_bytes_per_s = copy_rate(rig, seconds);
  return pieces;
}

double floor_of(const StepPieces& pieces) {
  double bytes = 0;
  for (const FamilyTime& family : pieces.families)
    if (!family.products) bytes += family.bytes;
  return pieces.products_s + bytes / pieces.copy_bytes_per_s + pieces.update_s;
}

double ceiling_of(const FamilyTime& family, const StepBench& bench) {
  return std::max(family.flops / bench.peak_flops_per_s, family.bytes / bench.pieces.copy_bytes_per_s);
}

std::string table_of_pieces(const StepBench& bench) {
  const StepPieces& pieces = bench.pieces;
  if (pieces.families.empty()) return "";
  std::string text = fmt::format("\n{:<40} {:>7} {:>9} {:>9} {:>6}\n", "family of kernels, in one piece",
                                 "kernels", "ms", "least ms", "%");
  for (const FamilyTime& family : pieces.families) {
    const double least = ceiling_of(family, bench);
    text += fmt::format("{:<40} {:7} {:9.3f} {:9.3f} {:6.1f}\n", family.operations, family.kernels,
                        family.seconds * 1e3, least * 1e3, least / family.seconds * 100);
  }
  text +=
      fmt::format("products and attention in one piece {:.3f} ms, all kernels {:.3f} ms, update {:.3f} ms\n",
                  pieces.products_s * 1e3, pieces.kernels_s * 1e3, pieces.update_s * 1e3);
  text += fmt::format("a copy moves {:.0f} GB/s, read and written; floor of the step {:.3f} ms\n",
                      pieces.copy_bytes_per_s * 1e-9, floor_of(pieces) * 1e3);
  return text;
}

}  // namespace lockstep::models
