// Cases of matrix products, layer norm, attention and embeddings.
#include "op_cases.h"

namespace lockstep::models::testing {
namespace {

OpCase op_case(const std::string& name, const BuildGraph& build) { return {name, build}; }

/// What a transformer's blocks are fused into: feed-forward parts and residual sums, from either side.
void add_residuals(std::vector<OpCase>& cases) {
  for (const bool residual_first : {true, false}) {
    cases.push_back(
        op_case(residual_first ? "residual_and_linear" : "linear_and_residual", [=](GraphBuilder& b) {
          const int x = sequence_behind_parameters(b, {5, 7});
          const int wide = b.apply(Gelu{}, {b.linear(x, "wide", {.out_features = 19}, {})}, "gelu");
          const int y = b.linear(wide, "narrow", {.out_features = 7}, {});
          const int sum = b.apply(Add{}, residual_first ? std::vector{x, y} : std::vector{y, x}, "sum");
          b.predict(b.layer_norm(sum, "norm", {.epsilon = 1e-3F}));
          b.loss(MeanSquaredError{});
        }));
  }
  for (const bool residual : {false, true}) {
    cases.push_back(op_case(residual ? "feed_forward_residual" : "feed_forward", [=](GraphBuilder& b) {
      const int x = sequence_behind_parameters(b, {5, 16});
      int y = b.linear(b.layer_norm(x, "norm"), "up", {.out_features = 64}, {});
      y = b.linear(b.apply(Gelu{true}, {y}, "gelu"), "down", {.out_features = 16}, {});
      if (residual) y = b.apply(Add{}, {x, y}, "add");
      b.predict(b.layer_norm(y, "last"));
      b.loss(MeanSquaredError{});
    }));
  }
  cases.push_back(op_case("linear_residual_twice", [](GraphBuilder& b) {
    int x = sequence_behind_parameters(b, {5, 24});
    x = b.apply(Add{}, {b.linear(x, "one", {.out_features = 24}, {}), x}, "add1");
    x = b.apply(Add{}, {x, b.linear(x, "two", {.out_features = 24, .bias = false}, {})}, "add2");
    b.predict(b.linear(x, "last", {.out_features = 3}, {}));
    b.loss(SmoothL1{});
  }));
  cases.push_back(op_case("dropout_residual", [](GraphBuilder& b) {
    const int x = sequence_behind_parameters(b, {5, 9});
    const int y = b.apply(Dropout{0.3F}, {b.linear(x, "op", {.out_features = 9}, {})}, "drop");
    b.predict(b.linear(b.apply(Add{}, {x, y}, "add"), "last", {.out_features = 3}, {}));
    b.loss(MeanSquaredError{});
  }));
}

/// Tokens, positions, and the output layer that shares the tokens' weight.
void add_embeddings(std::vector<OpCase>& cases) {
  cases.push_back(op_case("embedding_and_tied_output", [](GraphBuilder& b) {
    int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
    x = b.position_embedding(x, "positions", {.context = 9}, {});
    b.predict(b.tied_linear(x, "head", "tokens"));
    b.loss(SoftmaxCrossEntropy{});
  }));
  cases.push_back(op_case("embedding_alone", [](GraphBuilder& b) {
    int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
    b.predict(b.linear(x, "head", {.out_features = 5}, {}));
    b.loss(SoftmaxCrossEntropy{.label_smoothing = 0.1F, .ignore_index = 2});
  }));
}

}  // namespace

std::vector<OpCase> sequence_cases() {
  std::vector<OpCase> cases;
  for (std::int64_t width : {1, 3, 16, 17, 65}) {
    cases.push_back(op_case("linear_" + std::to_string(width), [=](GraphBuilder& b) {
      const int x = sequence_behind_parameters(b, {5, 7});
      b.predict(b.linear(x, "op", {.out_features = width}, {}));
      b.loss(MeanSquaredError{});
    }));
    cases.push_back(op_case("layer_norm_" + std::to_string(width), [=](GraphBuilder& b) {
      const int x = sequence_behind_parameters(b, {5, width});
      b.predict(b.layer_norm(x, "op", {.epsilon = 1e-3F}));
      b.loss(MeanSquaredError{});
    }));
  }
  cases.push_back(op_case("linear_no_bias", [](GraphBuilder& b) {
    const int x = b.apply(Flatten{}, {image_behind_parameters(b, {3, 4, 2})}, "flat");
    b.predict(b.linear(x, "op", {.out_features = 9, .bias = false}, {}));
    b.loss(SmoothL1{0.5F});
  }));
  add_residuals(cases);
  struct Attention {
    std::int64_t time, heads, depth;
    float dropout;
  };
  for (const auto& a : {Attention{1, 1, 4, 0},
                        {7, 2, 3, 0},
                        {64, 2, 8, 0},
                        {65, 1, 5, 0},
                        {130, 2, 4, 0},
                        {9, 3, 4, 0.25F},
                        {9, 6, 4, 0.25F},
                        {70, 1, 4, 0.25F},
                        {65, 2, 64, 0},
                        {65, 2, 64, 0.25F},
                        {64, 3, 16, 0.25F}}) {
    cases.push_back(op_case("attention_" + std::to_string(a.time) + "_" + std::to_string(a.heads) + "_" +
                                std::to_string(static_cast<int>(a.dropout * 100)),
                            [=](GraphBuilder& b) {
                              const Shape sample{a.time, 3 * a.heads * a.depth};
                              int x = sequence_behind_parameters(b, sample);
                              // Scores of wide heads would be beyond what 16 bits can tell.
                              if (a.depth >= 16) x = b.layer_norm(x, "norm");
                              b.predict(b.apply(CausalAttention{a.heads, a.dropout}, {x}, "op"));
                              b.loss(MeanSquaredError{});
                            }));
  }
  add_embeddings(cases);
  return cases;
}

}  // namespace lockstep::models::testing
