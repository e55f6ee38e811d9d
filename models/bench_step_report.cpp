// The measurement of a training step as a table and as JSON.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/memory.h"
#include "models/bench_families.h"
#include "models/bench_step.h"

namespace lockstep::models {

namespace {

std::string rate(double flops, double seconds) {
  return seconds > 0 ? fmt::format("{:8.1f}", flops / seconds * 1e-9) : fmt::format("{:>8}", "-");
}

/// A line per kernel; the columns of text are as wide as their longest entries.
std::string kernel_lines(const StepBench& bench) {
  std::size_t name_width = std::string_view("kernel").size();
  std::size_t op_width = std::string_view("operations").size();
  for (const KernelTime& each : bench.kernels) {
    name_width = std::max(name_width, each.node.name.size());
    op_width = std::max(op_width, each.node.op.size());
  }
  constexpr auto kHead = "{:<{}} {:<{}} {:>9} {:>9} {:>7} {:>8} {:>8}\n";
  std::string text = fmt::format(kHead, "kernel", name_width, "operations", op_width, "forward", "backward",
                                 "share", "forward", "backward");
  text += fmt::format(kHead, "", name_width, "", op_width, "ms", "ms", "%", "GFLOP/s", "GFLOP/s");
  for (const KernelTime& each : bench.kernels) {
    const Work& work = each.node.work;
    text += fmt::format("{:<{}} {:<{}} {:9.3f} {:9.3f} {:7.1f} {} {}\n", each.node.name, name_width,
                        each.node.op, op_width, each.forward_s * 1e3, each.backward_s * 1e3,
                        (each.forward_s + each.backward_s) / bench.step_s * 100,
                        rate(work.forward_flops, each.forward_s), rate(work.backward_flops, each.backward_s));
  }
  return text;
}

double kernels_alone_s(const StepBench& bench) {
  double sum = 0;
  for (const KernelTime& each : bench.kernels) sum += each.forward_s + each.backward_s;
  return sum;
}

nlohmann::ordered_json pieces_json(const StepBench& bench) {
  const StepPieces& pieces = bench.pieces;
  nlohmann::ordered_json out{{"products_ms", pieces.products_s * 1e3},
                             {"kernels_ms", pieces.kernels_s * 1e3},
                             {"update_ms", pieces.update_s * 1e3},
                             {"floor_ms", floor_of(pieces) * 1e3},
                             {"copy_gb_per_s", pieces.copy_bytes_per_s * 1e-9},
                             {"families", nlohmann::ordered_json::array()}};
  for (const FamilyTime& family : pieces.families)
    out["families"].push_back({{"operations", family.operations},
                               {"kernels", family.kernels},
                               {"ms", family.seconds * 1e3},
                               {"least_ms", ceiling_of(family, bench) * 1e3}});
  return out;
}

}  // namespace

std::string table_of(const StepBench& bench) {
  std::string text = kernel_lines(bench);
  text += fmt::format(
      "\nstep {:.3f} ms (forward {:.3f}, backward {:.3f}, update {:.3f}; {:.3f} to {:.3f} over rounds)\n",
      bench.step_s * 1e3, bench.forward_s * 1e3, bench.backward_s * 1e3, bench.update_s * 1e3,
      bench.step_min_s * 1e3, bench.step_max_s * 1e3);
  text += fmt::format("kernels alone {:.3f} ms\n", kernels_alone_s(bench) * 1e3);
  text +=
      fmt::format("convolutions {:.3f} ms, matrix products {:.3f} ms, norms {:.3f} ms, alone and unfused\n",
                  bench.convolutions_s * 1e3, bench.products_s * 1e3, bench.norms_s * 1e3);
  text += fmt::format("step / (convolutions + products + norms) = {:.3f}, median over rounds\n", bench.ratio);
  text += fmt::format("activations and workspace {}\n", bytes_text(bench.arena_bytes));
  text +=
      fmt::format("achieved {:.1f} GFLOP/s, {:.0f} % of the measured matrix-product peak of {:.1f} GFLOP/s\n",
                  bench.flops_per_s() * 1e-9, bench.flops_per_s() / bench.peak_flops_per_s * 100,
                  bench.peak_flops_per_s * 1e-9);
  return text + table_of_pieces(bench);
}

std::string json_of(const StepBench& bench) {
  nlohmann::ordered_json out{
      {"step_ms",
       {{"median", bench.step_s * 1e3}, {"min", bench.step_min_s * 1e3}, {"max", bench.step_max_s * 1e3}}},
      {"forward_ms", bench.forward_s * 1e3},
      {"backward_ms", bench.backward_s * 1e3},
      {"update_ms", bench.update_s * 1e3},
      {"convolutions_ms", bench.convolutions_s * 1e3},
      {"products_ms", bench.products_s * 1e3},
      {"norms_ms", bench.norms_s * 1e3},
      {"ratio", bench.ratio},
      {"step_flops", bench.step_flops},
      {"arena_bytes", bench.arena_bytes},
      {"gflop_per_s", bench.flops_per_s() * 1e-9},
      {"peak_gflop_per_s", bench.peak_flops_per_s * 1e-9},
      {"kernels", nlohmann::ordered_json::array()}};
  for (const KernelTime& each : bench.kernels) {
    out["kernels"].push_back({{"name", each.node.name},
                              {"operations", each.node.op},
                              {"forward_ms", each.forward_s * 1e3},
                              {"backward_ms", each.backward_s * 1e3},
                              {"forward_flops", each.node.work.forward_flops},
                              {"backward_flops", each.node.work.backward_flops}});
  }
  if (!bench.pieces.families.empty()) out["pieces"] = pieces_json(bench);
  return out.dump(2);
}

}  // namespace lockstep::models
