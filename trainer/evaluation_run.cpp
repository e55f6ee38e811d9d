#include "trainer/evaluation_run.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <vector>

#include "comm/collectives.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "trainer/parts.h"
#include "trainer/placement.h"
#include "trainer/predictions.h"
#include "trainer/weights.h"

namespace lockstep::trainer {

namespace {

/// Samples of a microbatch in evaluation when the config's batch says nothing that fits one rank.
std::int64_t evaluation_microbatch(const Config& config) {
  const Options batch = config.section("batch");
  if (batch.integer("microbatch") > 0) return batch.integer("microbatch");
  const std::int64_t given = std::max(batch.integer("per_rank"), batch.integer("global"));
  return std::clamp<std::int64_t>(given, 1, 256);
}

/// Draws one token: softmax of scores / temperature over the top_k likeliest.
std::int32_t draw_token(std::span<const float> scores, const GenerationOptions& options,
                        std::int64_t position) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](std::int32_t token) {
    return static_cast<double>(scores[static_cast<std::size_t>(token)]);
  };
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return score(a) > score(b); });
  if (options.temperature <= 0) return order.front();
  if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(options.top_k)));
  std::vector<double> cumulative;
  double total = 0;
  for (std::int32_t token : order) {
    total += std::exp((score(token) - score(order.front())) / options.temperature);
    cumulative.push_back(total);
  }
  const RandomSource random(options.seed, "generate", static_cast<std::uint64_t>(position));
  const double at = static_cast<double>(random.uniform(0)) * total;
  const auto found = std::ranges::upper_bound(cumulative, at);
  return order[static_cast<std::size_t>(
      std::min<std::ptrdiff_t>(found - cumulative.begin(), static_cast<std::ptrdiff_t>(order.size()) - 1))];
}

/// Without a prompt: the end of a line, or the first token of a vocabulary that has none.
std::vector<std::int32_t> opening(const data::Tokenizer& tokenizer) {
  try {
    return tokenizer.encode("\n");
  } catch (const Error&) {
    return {0};
  }
}

/// A language model that scores the token after a text.
class Speaker {
 public:
  Speaker(const Config& config, const std::string& file, const data::LoaderSpec& spec)
      : replica_(spec, replica_options(config, lone_device(config), 1, false)),
        compute_(compute_stream(config, replica_.device())),
        context_(static_cast<std::size_t>(spec.input.count())),
        vocabulary_(static_cast<std::size_t>(spec.classes)),
        input_(context_),
        target_(context_),
        scores_(context_ * vocabulary_) {
    load_weights(file, replica_.model(), replica_.store());
    replica_.refresh_working(replica_.store().values(), *compute_);
  }

  std::span<const float> after(std::span<const std::int32_t> text) {
    const std::span<const std::int32_t> seen = text.last(std::min(text.size(), context_));
    // What stands behind the text does not matter: attention is causal.
    std::ranges::fill(input_, 0);
    std::ranges::copy(seen, input_.begin());
    replica_.executor().feed(input_.data(), target_.data(), *compute_);
    replica_.executor().forward(replica_.pass(models::Mode::evaluate, replica_.store().values()), *compute_);
    replica_.executor().read_prediction(scores_.data(), *compute_);
    compute_->synchronize();
    return std::span<const float>(scores_).subspan((seen.size() - 1) * vocabulary_, vocabulary_);
  }

 private:
  Replica replica_;
  std::unique_ptr<Stream> compute_;
  std::size_t context_, vocabulary_;
  std::vector<std::int32_t> input_, target_;
  std::vector<float> scores_;
};

}  // namespace

Evaluation evaluate_file(const Config& config, const std::string& file, comm::World& world,
                         const std::string& predictions) {
  const auto dataset = open_evaluation_set(config);
  const std::int64_t microbatch = evaluation_microbatch(config);
  const data::LoaderSpec spec = data::describe_samples(*dataset, config.section("data"), false);
  Replica replica(spec, replica_options(config, device_of(config, world), microbatch, false));
  load_weights(file, replica.model(), replica.store());
  const auto compute = compute_stream(config, replica.device());
  comm::Control control(comm::make_collectives(world.transport(config.section("run").real("deadline_s")),
                                               make_schedule(config, on_one_node(world))));
  EvaluationOptions options = evaluation_options(config, microbatch);
  std::optional<PredictionFile> kept;
  if (!predictions.empty()) {
    kept.emplace(predictions, replica.graph(), evaluated_samples(spec.samples, options), microbatch,
                 host_collectives(config, world));
    options.show = [&](const Evaluated& batch) { kept->add(batch); };
  }
  Evaluation evaluation = evaluate(replica, replica.store().values(), *dataset, config.section("data"),
                                   options, control, *compute);
  if (kept) kept->finish();
  return evaluation;
}

void generate(const Config& config, const std::string& file, const GenerationOptions& options,
              const std::function<void(const std::string&)>& piece) {
  const auto dataset = open_dataset(config);
  const std::string stored = dataset->fact("tokenizer");
  const data::LoaderSpec spec = data::describe_samples(*dataset, config.section("data"), false);
  if (stored.empty() || spec.input_dtype != Dtype::i32) {
    throw Error(Fault::config,
                "'" + config.section("data").texts("files").front() + "' has no tokenizer: it is not a text",
                "generate needs a language model and a data set made by `lockstep data import text`");
  }
  const auto tokenizer = data::tokenizer_from_text(stored);
  std::vector<std::int32_t> text =
      options.prompt.empty() ? opening(*tokenizer) : tokenizer->encode(options.prompt);
  Speaker speaker(config, file, spec);
  piece(options.prompt);
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    text.push_back(draw_token(speaker.after(text), options, i));
    piece(tokenizer->decode(std::span(text).last(1)));
  }
}

}  // namespace lockstep::trainer
