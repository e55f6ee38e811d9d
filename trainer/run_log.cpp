#include "trainer/run_log.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/log.h"
#include "trainer/progress.h"

namespace lockstep::trainer {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

/// The value below which `part` of the sorted samples lie.
double quantile(std::vector<double> samples, double part) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const auto index = static_cast<std::size_t>(part * static_cast<double>(samples.size() - 1) + 0.5);
  return samples[index];
}

/// JSON has no NaN: a number that is not finite becomes text.
Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/// What compression did to each bucket; the comparison with the true sum where one was made.
Json buckets_json(const std::vector<comm::BucketReport>& buckets, int ranks) {
  Json all = Json::array();
  for (const comm::BucketReport& bucket : buckets) {
    const double exact = 2.0 * (ranks - 1) / ranks * static_cast<double>(bucket.dense_bytes);
    Json line{{"bucket", bucket.bucket},
              {"compressor", bucket.compressor},
              {"wire_bytes", bucket.wire_bytes},
              {"ratio", bucket.wire_bytes > 0 ? exact / static_cast<double>(bucket.wire_bytes) : 0.0},
              {"encode_ms", 1e3 * bucket.times.encode_s},
              {"wire_ms", 1e3 * bucket.times.wire_s},
              {"decode_ms", 1e3 * bucket.times.decode_s},
              {"exposed_ms", 1e3 * bucket.exposed_s}};
    if (bucket.sample != nullptr && bucket.sample->holds) {
      line["relative_error"] = number(bucket.sample->relative_error);
      line["cosine"] = number(bucket.sample->cosine);
      line["residual_norm"] = number(bucket.sample->residual_norm);
    }
    all.push_back(line);
  }
  return all;
}

class TerminalLog final : public RunLog {
 public:
  TerminalLog(const std::string& directory, std::int64_t log_every)
      : directory_(directory),
        log_every_(log_every),
        live_(isatty(STDOUT_FILENO) != 0 && isatty(STDERR_FILENO) != 0) {}

  void start(const RunFacts& facts) override {
    facts_ = facts;
    started_ = Clock::now();
    keep_lines_before(facts.first_step);
    metrics_.open(directory_ + "/metrics.jsonl", std::ios::app);
    if (!facts.config.empty()) std::ofstream(directory_ + "/config.yaml") << facts.config;
    print("model    " + facts.model + ", " + std::to_string(facts.parameters) + " parameters, on " +
          facts.device);
    print("data     " + facts.data + ", " + std::to_string(facts.steps_per_epoch) + " steps an epoch");
    print("ranks    " + std::to_string(facts.ranks) + " over " + facts.world + ", all-reduce " +
          facts.schedule + ", compression " + facts.compressor + ", " + std::to_string(facts.buckets) +
          " bucket(s)");
    print("batch    " + std::to_string(facts.global_batch) +
          " a step = " + std::to_string(facts.microbatches_per_step) + " microbatches of " +
          std::to_string(facts.microbatch));
    print("steps    " + std::to_string(facts.first_step) + " to " + std::to_string(facts.steps) +
          "; run directory " + directory_);
  }

  void step(const StepRecord& record) override {
    const StepResult& result = record.result;
    // The first step of a process allocates and warms caches: it says nothing about speed.
    if (result.step > facts_.first_step) {
      milliseconds_.push_back(1e3 * record.seconds);
      exposed_.push_back(1e3 * result.exposed_comm_s);
    }
    const bool sampled = std::ranges::any_of(
        result.compressed, [](const comm::BucketReport& bucket) { return bucket.sample != nullptr; });
    (sampled ? sampled_wire_bytes_ : wire_bytes_).push_back(static_cast<double>(result.wire_bytes));
    loss_ = number(result.loss);
    const std::int64_t done = result.step + 1;
    if (done % log_every_ != 0 && done != facts_.steps && done != facts_.first_step + 1) return;
    write_step(record);
    show_progress(record);
  }

  void evaluation(std::int64_t step, const Evaluation& evaluation, bool best) override {
    Json line{{"event", "evaluation"}, {"step", step}};
    evaluation_ = Json::object();
    for (const auto& [name, value] : evaluation.values) evaluation_[name] = number(value);
    line["eval"] = evaluation_;
    line["best"] = best;
    line["seconds"] = evaluation.seconds;
    metrics_ << line.dump() << std::endl;
    if (best) best_ = best_of(line);
    print("eval     step " + std::to_string(step) + ": " + text(evaluation) + (best ? "  (best)" : ""));
  }

  void checkpoint(std::int64_t step, const std::string& path, double seconds) override {
    metrics_ << Json{{"event", "checkpoint"}, {"step", step}, {"path", path}, {"seconds", seconds}}.dump()
             << std::endl;
    log::debug("checkpoint {} in {:.2f} s", path, seconds);
  }

  void note(std::string_view sentence) override {
    print("note     " + std::string(sentence));
    if (metrics_.is_open())
      metrics_ << Json{{"event", "note"}, {"text", std::string(sentence)}}.dump() << std::endl;
  }

  void finish(const RunEnd& end) override {
    const double median = quantile(milliseconds_, 0.5);
    const double per_second = median > 0 ? 1e3 * static_cast<double>(facts_.global_batch) / median : 0;
    const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    write_summary(end, median, per_second, seconds);
    char line[160];
    std::snprintf(
        line, sizeof line,
        "%s after %lld steps in %s: %.1f ms a step (p95 %.1f), %.0f %s/s, %.1f ms waiting for peers",
        end.status.c_str(), static_cast<long long>(end.steps), duration_text(seconds).c_str(), median,
        quantile(milliseconds_, 0.95), per_second * facts_.units_per_sample, facts_.unit.c_str(),
        quantile(exposed_, 0.5));
    print(line);
    print("hash     parameters " + hash_text(end.parameter_hash) + ", state " + hash_text(end.state_hash));
    print("results  " + directory_ + "/summary.json, metrics.jsonl, " +
          (end.checkpoint.empty() ? "no checkpoint" : end.checkpoint));
  }

 private:
  void write_summary(const RunEnd& end, double median, double per_second, double seconds) const {
    const Json summary{{"status", end.status},
                       {"steps", end.steps},
                       {"ranks", facts_.ranks},
                       {"model", facts_.model},
                       {"parameters", facts_.parameters},
                       {"final_train_loss", loss_},
                       {"eval", evaluation_},
                       {"best", best_},
                       {"samples_per_s", per_second},
                       {"step_ms", {{"median", median}, {"p95", quantile(milliseconds_, 0.95)}}},
                       {"exposed_comm_ms", quantile(exposed_, 0.5)},
                       {"wire_bytes_per_step", counted_bytes()},
                       {"seconds", seconds},
                       {"parameter_hash", hash_text(end.parameter_hash)},
                       {"state_hash", hash_text(end.state_hash)},
                       {"checkpoint", end.checkpoint}};
    std::ofstream(directory_ + "/summary.json") << summary.dump(2) << "\n";
  }
  /// Nobody counts what the library's own all-reduce sends.
  [[nodiscard]] Json counted_bytes() const {
    const std::int64_t bytes = usual_wire_bytes();
    if (bytes == 0 && facts_.ranks > 1 && facts_.schedule == "library") return nullptr;
    return bytes;
  }
  /// The median of the steps that took no sample: comparing with the true sum sends more than training does.
  [[nodiscard]] std::int64_t usual_wire_bytes() const {
    return static_cast<std::int64_t>(quantile(wire_bytes_.empty() ? sampled_wire_bytes_ : wire_bytes_, 0.5));
  }
  void print(const std::string& line) {
    std::printf("%s%s\n", live_line_ ? "\r\033[K" : "", line.c_str());
    std::fflush(stdout);
    live_line_ = false;
  }

  /// Where the best evaluation was, and what it found.
  static Json best_of(const Json& evaluation) {
    const auto first = evaluation.at("eval").begin();
    return {{"step", evaluation.at("step")}, {first.key(), first.value()}};
  }
  /// What the run was up to its checkpoint counts where the resumed one adds nothing newer.
  void remember(const Json& line) {
    const std::string event = line.value("event", "");
    if (event == "step") loss_ = line.value("loss", Json());
    if (event == "evaluation" && line.value("best", false)) best_ = best_of(line);
  }

  /// A resumed run repeats the steps after its checkpoint: their old lines go.
  void keep_lines_before(std::int64_t first_step) {
    const std::string path = directory_ + "/metrics.jsonl";
    std::ifstream old(path);
    if (!old) return;
    std::string kept;
    for (std::string line; std::getline(old, line);) {
      const Json parsed = Json::parse(line, nullptr, false);
      if (!parsed.is_object() || parsed.value("step", std::int64_t{-1}) > first_step) continue;
      remember(parsed);
      kept += line + "\n";
    }
    old.close();
    std::ofstream(path) << kept;
  }

  void write_step(const StepRecord& record) {
    const StepResult& result = record.result;
    Json line{{"event", "step"},
              {"step", result.step + 1},
              {"epoch", static_cast<double>(result.step + 1) /
                            static_cast<double>(std::max<std::int64_t>(1, facts_.steps_per_epoch))},
              {"loss", number(result.loss)},
              {"rate", result.rate},
              {"gradient_norm", number(result.gradient_norm)},
              {"step_ms", 1e3 * record.seconds},
              {"exposed_comm_ms", 1e3 * result.exposed_comm_s},
              {"data_wait_ms", 1e3 * record.data_wait_s},
              {"wire_bytes", result.wire_bytes}};
    if (!result.compressed.empty()) line["compression"] = buckets_json(result.compressed, facts_.ranks);
    metrics_ << line.dump() << std::endl;
  }

  void show_progress(const StepRecord& record) {
    const StepResult& result = record.result;
    const std::int64_t done = result.step + 1;
    const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
    const double left = seconds_left(elapsed, facts_.first_step, done, facts_.steps);
    char line[200];
    std::snprintf(line, sizeof line, "step %6lld/%lld  loss %.4f  rate %.2e  %.1f ms  %.0f %s/s  left %s",
                  static_cast<long long>(done), static_cast<long long>(facts_.steps),
                  static_cast<double>(result.loss), static_cast<double>(result.rate), 1e3 * record.seconds,
                  static_cast<double>(facts_.global_batch) * facts_.units_per_sample / record.seconds,
                  facts_.unit.c_str(), duration_text(left).c_str());
    if (live_) {
      std::printf("\r\033[K%s", line);
      std::fflush(stdout);
      live_line_ = true;
    } else {
      print(line);
    }
  }

  std::string directory_;
  std::int64_t log_every_;
  bool live_;  ///< a terminal; mpirun gives ranks a pseudo-terminal for stdout alone
  bool live_line_ = false;
  RunFacts facts_;
  Clock::time_point started_;
  std::ofstream metrics_;
  std::vector<double> milliseconds_, exposed_, wire_bytes_, sampled_wire_bytes_;
  Json loss_;
  Json evaluation_ = Json::object();
  Json best_;
};

class SilentLog final : public RunLog {
 public:
  void start(const RunFacts&) override {}
  void step(const StepRecord&) override {}
  void evaluation(std::int64_t, const Evaluation&, bool) override {}
  void checkpoint(std::int64_t, const std::string&, double) override {}
  void note(std::string_view) override {}
  void finish(const RunEnd&) override {}
};

}  // namespace

std::unique_ptr<RunLog> make_run_log(const std::string& directory, std::int64_t log_every) {
  return std::make_unique<TerminalLog>(directory, log_every);
}

std::unique_ptr<RunLog> make_silent_log() { return std::make_unique<SilentLog>(); }

}  // namespace lockstep::trainer
