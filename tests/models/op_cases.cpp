#include "op_cases.h"

namespace lockstep::models::testing {

OpCase on_image(const std::string& name, const Shape& sample, const OpSpec& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.apply(spec, {image_behind_parameters(b, sample)}, "op"));
            b.loss(MeanSquaredError{});
          }};
}

OpCase on_sequence(const std::string& name, const Shape& sample, const OpSpec& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.apply(spec, {sequence_behind_parameters(b, sample)}, "op"));
            b.loss(MeanSquaredError{});
          }};
}

void PrintTo(const OpCase& op, std::ostream* out) { *out << op.name; }
std::string name_of_case(const ::testing::TestParamInfo<OpCase>& info) { return info.param.name; }

double bf16_tolerance(const OpCase& c) {
  // Rounding may move a maximum to its neighbour, and with it the whole gradient.
  return c.name.starts_with("max_pool") ? 0.2 : 0.06;
}

}  // namespace lockstep::models::testing
