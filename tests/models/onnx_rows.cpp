// Norms, softmax and losses over rows, and element-wise operators.
#include "onnx_operators.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lockstep::models::testing {

namespace {

Shape flat_batch(const OnnxTensor& x) { return {1, x.shape.count()}; }

/// -log softmax along an axis: the cross-entropy of every class in turn.
Values negative_log_softmax(const OnnxTensor& x, std::int64_t axis, std::string_view backend) {
  const Split parts = split(x.shape, axis);
  OnBackend run(backend, parts.before, [&](GraphBuilder& b) {
    b.predict(b.apply(LeakyRelu{1}, {b.input({parts.at, 1, parts.after}, Dtype::f32)}, "identity"));
    b.loss(SoftmaxCrossEntropy{});
  });
  Values result(x.values.size());
  for (std::int64_t k = 0; k < parts.at; ++k) {
    const Values labels(static_cast<std::size_t>(parts.before * parts.after), static_cast<double>(k));
    const Values rows = run.losses(x.values, labels);
    for (std::int64_t row = 0; row < parts.before * parts.after; ++row) {
      const auto to = (row / parts.after * parts.at + k) * parts.after + row % parts.after;
      result[static_cast<std::size_t>(to)] = rows[static_cast<std::size_t>(row)];
    }
  }
  return result;
}

}  // namespace

/// Normalises over all axes from `axis` on: one long axis.
Values run_layer_norm(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor& x = each.inputs[0];
  const std::int64_t width = from_axis(x.shape, each.integer("axis", -1));
  const LayerNorm op{.epsilon = static_cast<float>(each.real("epsilon", 1e-5))};
  OnBackend run(backend, x.shape.count() / width,
                [&](GraphBuilder& b) { b.predict(b.layer_norm(b.input({width}, Dtype::f32), "op", op)); });
  run.set("op.weight", each.inputs[1].values);
  run.set("op.bias", each.inputs[2].values);
  return run.predict(x.values);
}

/// Batch norm of one sample at a time, by its own statistics.
Values run_instance_norm(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor& x = each.inputs[0];
  const BatchNorm op{.epsilon = static_cast<float>(each.real("epsilon", 1e-5))};
  OnBackend run(backend, 1, [&](GraphBuilder& b) {
    b.predict(b.batch_norm(b.input(sample_of(x.shape), Dtype::f32), "op", op));
  });
  run.set("op.weight", each.inputs[1].values);
  run.set("op.bias", each.inputs[2].values);
  Values result;
  const auto size = static_cast<std::ptrdiff_t>(x.shape.count() / x.shape[0]);
  for (auto first = x.values.begin(); first != x.values.end(); first += size) {
    const Values y = run.predict(Values(first, first + size), Mode::train);
    result.insert(result.end(), y.begin(), y.end());
  }
  return result;
}

Values run_softmax(const OnnxCase& each, std::string_view backend) {
  Values values = negative_log_softmax(each.inputs[0], each.integer("axis", -1), backend);
  for (double& value : values) value = each.op == "Softmax" ? std::exp(-value) : -value;
  return values;
}

Values run_cross_entropy(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor& x = each.inputs[0];
  const Split parts = split(x.shape, 1);
  const SoftmaxCrossEntropy op{.ignore_index = each.integer("ignore_index", -100)};
  OnBackend run(backend, parts.before, [&](GraphBuilder& b) {
    const Shape sample = x.shape.rank() == 2 ? Shape{parts.at} : Shape{parts.at, 1, parts.after};
    b.predict(b.apply(LeakyRelu{1}, {b.input(sample, Dtype::f32)}, "identity"));
    b.loss(op);
  });
  Values rows = run.losses(x.values, each.inputs[1].values);
  const auto ignored = [](double loss) { return loss == static_cast<double>(kIgnoredRow); };
  const auto counted =
      static_cast<double>(rows.size()) - static_cast<double>(std::ranges::count_if(rows, ignored));
  std::ranges::replace_if(rows, ignored, 0.0);
  const std::string reduction = each.text("reduction", "mean");
  if (reduction == "none") return rows;
  const double sum = std::accumulate(rows.begin(), rows.end(), 0.0);
  return {reduction == "sum" ? sum : sum / counted};
}

/// The reduced axis goes last, the others become channels of a plane.
Values run_reduce_mean(const OnnxCase& each, std::string_view backend) {
  OnnxCase moved = each;
  const OnnxTensor& x = each.inputs[0];
  if (each.inputs[1].values.empty()) {
    return run_plain(each, backend, GlobalAveragePool{}, {1, 1, 1, x.shape.count()});
  }
  const Split parts = split(x.shape, static_cast<std::int64_t>(each.inputs[1].values[0]));
  for (std::int64_t i = 0; i < x.shape.count(); ++i) {
    const auto k = i / parts.after % parts.at;
    const auto kept = i / (parts.after * parts.at) * parts.after + i % parts.after;
    moved.inputs[0].values[static_cast<std::size_t>(kept * parts.at + k)] =
        x.values[static_cast<std::size_t>(i)];
  }
  return run_plain(moved, backend, GlobalAveragePool{}, {1, parts.before * parts.after, 1, parts.at});
}

Values run_leaky_relu(const OnnxCase& each, std::string_view backend) {
  const LeakyRelu op{static_cast<float>(each.real("alpha", 0.01))};
  return run_plain(each, backend, op, flat_batch(each.inputs[0]));
}
Values run_gelu(const OnnxCase& each, std::string_view backend) {
  return run_plain(each, backend, Gelu{each.text("approximate", "none") == "tanh"},
                   flat_batch(each.inputs[0]));
}
Values run_dropout(const OnnxCase& each, std::string_view backend) {
  const Dropout op{static_cast<float>(each.inputs[1].values[0])};
  return run_plain(each, backend, op, flat_batch(each.inputs[0]), Mode::train);
}
/// The axes before `axis` are the samples.
Values run_flatten(const OnnxCase& each, std::string_view backend) {
  const Shape& x = each.inputs[0].shape;
  const Split parts = split(x, each.integer("axis", 1));
  return run_plain(each, backend, Flatten{}, {parts.before, parts.at, parts.after});
}

}  // namespace lockstep::models::testing
