#include "onnx_runner.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "core/stream.h"
#include "models/executor.h"

namespace lockstep::models::testing {
namespace {

using Values = std::vector<double>;

/// A graph on a backend in f32, with parameters set by name.
class OnBackend {
 public:
  OnBackend(std::string_view backend, std::int64_t microbatch,
            const std::function<void(GraphBuilder&)>& build)
      : backend_(make_backend(backend, {})),
        graph_(make(microbatch, build)),
        executor_(make_executor(graph_, *backend_, {.training = false})),
        store_(executor_->parameter_layout(), executor_->state_layout(), backend_->device()),
        statistics_(make_array(backend_->device(), Dtype::f32, executor_->state_layout().stored_count())),
        stream_(make_stream(backend_->device())) {
    initialise(graph_, 0, store_);
  }

  void set(const std::string& parameter, const Values& values) {
    store_.write(parameter, std::vector<float>(values.begin(), values.end()));
  }
  Values predict(const Values& input, Mode mode = Mode::evaluate) {
    run(input, {}, mode);
    std::vector<float> result(count(graph_.prediction()));
    executor_->read_prediction(result.data(), *stream_);
    stream_->synchronize();
    return {result.begin(), result.end()};
  }
  Values losses(const Values& input, const Values& target) {
    run(input, target, Mode::evaluate);
    std::vector<float> result(count(graph_.loss()));
    executor_->read_losses(result.data(), *stream_);
    stream_->synchronize();
    return {result.begin(), result.end()};
  }

 private:
  static Graph make(std::int64_t microbatch, const std::function<void(GraphBuilder&)>& build) {
    GraphBuilder builder(microbatch);
    build(builder);
    return std::move(builder).finish();
  }
  [[nodiscard]] std::size_t count(int value) const {
    return static_cast<std::size_t>(graph_.values()[static_cast<std::size_t>(value)].shape.count());
  }
  void run(const Values& input, const Values& target, Mode mode) {
    const bool ids = graph_.values()[static_cast<std::size_t>(graph_.input())].dtype == Dtype::i32;
    const std::vector<float> floats(input.begin(), input.end());
    const std::vector<std::int32_t> integers(input.begin(), input.end());
    const std::vector<std::int32_t> labels(target.begin(), target.end());
    Pass pass;
    pass.mode = mode;
    pass.values = pass.working = store_.values();
    pass.gradients = store_.gradients();
    pass.state = store_.state();
    pass.statistics = statistics_.span;
    executor_->feed(ids ? static_cast<const void*>(integers.data()) : floats.data(),
                    labels.empty() ? nullptr : labels.data(), *stream_);
    executor_->forward(pass, *stream_);
    stream_->synchronize();
  }

  std::unique_ptr<Backend> backend_;
  Graph graph_;
  std::unique_ptr<Executor> executor_;
  ParameterStore store_;
  FlatArray statistics_;
  std::unique_ptr<Stream> stream_;
};

/// The axes before, at and after `axis`, multiplied.
struct Split {
  std::int64_t before = 1, at = 1, after = 1;
};
Split split(const Shape& shape, std::int64_t axis) {
  if (axis < 0) axis += shape.rank();
  Split parts;
  for (int i = 0; i < shape.rank(); ++i)
    (i < axis ? parts.before : i == axis ? parts.at : parts.after) *= shape[i];
  return parts;
}
std::int64_t from_axis(const Shape& shape, std::int64_t axis) {
  const Split parts = split(shape, axis);
  return parts.at * parts.after;
}

Shape sample_of(const Shape& batch) {
  return Shape(std::vector<std::int64_t>(batch.extents().begin() + 1, batch.extents().end()));
}

Pair pair_of(const std::vector<std::int64_t>& values, std::size_t first = 0) {
  return {values[first], values[first + 1]};
}

/// Padding at the beginning and end of each spatial axis.
struct Pads {
  Pair begin{0, 0}, end{0, 0};
  [[nodiscard]] bool symmetric() const { return begin == end; }
};
Pads pads_of(const OnnxCase& each) {
  const std::string mode = each.text("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode == "VALID") {
    const auto pads = each.integers("pads", {0, 0, 0, 0});
    return {pair_of(pads), pair_of(pads, 2)};
  }
  const Pair kernel = pair_of(each.integers("kernel_shape", {3, 3}));
  const Pair stride = pair_of(each.integers("strides", {1, 1}));
  Pads pads;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t extent = each.inputs[0].shape[static_cast<int>(i) + 2];
    const std::int64_t places = (extent + stride[i] - 1) / stride[i];
    const std::int64_t total = std::max<std::int64_t>(0, (places - 1) * stride[i] + kernel[i] - extent);
    pads.begin[i] = mode == "SAME_LOWER" ? (total + 1) / 2 : total / 2;
    pads.end[i] = total - pads.begin[i];
  }
  return pads;
}

Values run_conv(const OnnxCase& each, std::string_view backend) {
  const Shape &x = each.inputs[0].shape, &w = each.inputs[1].shape;
  const Conv2d op{.out_channels = w[0],
                  .kernel = {w[2], w[3]},
                  .stride = pair_of(each.integers("strides", {1, 1})),
                  .padding = pads_of(each).begin,
                  .dilation = pair_of(each.integers("dilations", {1, 1})),
                  .groups = each.integer("group", 1),
                  .bias = false};
  OnBackend run(backend, x[0], [&](GraphBuilder& b) {
    b.predict(b.conv2d(b.input(sample_of(x), Dtype::f32), "op", op, {}));
  });
  run.set("op.weight", each.inputs[1].values);
  return run.predict(each.inputs[0].values);
}

/// A 1-D case is one of height 1.
Shape as_image(const Shape& shape) {
  return shape.rank() == 4 ? shape : Shape{shape[0], shape[1], 1, shape[2]};
}

Values run_conv_transpose(const OnnxCase& each, std::string_view backend) {
  const Shape x = as_image(each.inputs[0].shape), w = as_image(each.inputs[1].shape);
  ConvTranspose2d op{.out_channels = w[1] * each.integer("group", 1),
                     .kernel = {w[2], w[3]},
                     .stride = pair_of(each.integers("strides", {1, 1})),
                     .padding = pads_of(each).begin,
                     .output_padding = pair_of(each.integers("output_padding", {0, 0})),
                     .dilation = pair_of(each.integers("dilations", {1, 1})),
                     .groups = each.integer("group", 1),
                     .bias = false};
  if (each.has("output_shape")) {
    const auto wanted = each.integers("output_shape", {});
    for (std::size_t i = 0; i < 2; ++i) {
      op.output_padding[i] = wanted[i] - ((x[static_cast<int>(i) + 2] - 1) * op.stride[i] + op.kernel[i]);
    }
  }
  OnBackend run(backend, x[0], [&](GraphBuilder& b) {
    b.predict(b.conv_transpose2d(b.input(sample_of(x), Dtype::f32), "op", op, {}));
  });
  run.set("op.weight", each.inputs[1].values);
  return run.predict(each.inputs[0].values);
}

/// An operation without parameters on `input`, viewed as `batch`.
Values run_plain(const OnnxCase& each, std::string_view backend, const OpSpec& op, const Shape& batch,
                 Mode mode = Mode::evaluate) {
  OnBackend run(backend, batch[0], [&](GraphBuilder& b) {
    b.predict(b.apply(op, {b.input(sample_of(batch), Dtype::f32)}, "op"));
  });
  return run.predict(each.inputs[0].values, mode);
}

Values run_pool(const OnnxCase& each, std::string_view backend) {
  const Pair kernel = pair_of(each.integers("kernel_shape", {}));
  const Pair stride = pair_of(each.integers("strides", {1, 1}));
  const Pair padding = pads_of(each).begin;
  const Shape& batch = each.inputs[0].shape;
  if (each.op == "MaxPool") return run_plain(each, backend, MaxPool{kernel, stride, padding}, batch);
  const bool count_padding = each.integer("count_include_pad", 0) != 0;
  return run_plain(each, backend, AveragePool{kernel, stride, padding, count_padding}, batch);
}

Shape flat_batch(const OnnxTensor& x) { return {1, x.shape.count()}; }

/// y = x w + b for row-major matrices x [rows, inner] and w [inner, columns].
Values product(std::string_view backend, const Values& x, const Values& w, std::int64_t inner,
               const Values& bias) {
  const auto rows = static_cast<std::int64_t>(x.size()) / inner;
  const auto columns = static_cast<std::int64_t>(w.size()) / inner;
  Values transposed(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    const auto row = i / static_cast<std::size_t>(columns);
    const auto col = i % static_cast<std::size_t>(columns);
    transposed[col * static_cast<std::size_t>(inner) + row] = w[i];
  }
  OnBackend run(backend, rows, [&](GraphBuilder& b) {
    b.predict(
        b.linear(b.input({inner}, Dtype::f32), "op", {.out_features = columns, .bias = !bias.empty()}, {}));
  });
  run.set("op.weight", transposed);
  if (!bias.empty()) run.set("op.bias", bias);
  return run.predict(x);
}

Values scaled(Values values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

/// alpha and beta belong to the weights; a scalar bias is the same for every column.
Values run_gemm(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor &a = each.inputs[0], &b = each.inputs[1];
  Values bias = scaled(each.inputs[2].values, each.real("beta", 1));
  bias.resize(static_cast<std::size_t>(b.shape[1]), bias[0]);
  return product(backend, a.values, scaled(b.values, each.real("alpha", 1)), a.shape[1], bias);
}

/// One product per matrix; an operand without a batch axis goes with every matrix of the other.
Values run_matmul(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor &a = each.inputs[0], &b = each.inputs[1];
  const std::int64_t inner = a.shape[a.shape.rank() - 1];
  const std::int64_t rows = a.shape.rank() == 1 ? 1 : a.shape[a.shape.rank() - 2];
  const std::int64_t columns = b.shape.rank() == 1 ? 1 : b.shape[b.shape.rank() - 1];
  const std::int64_t matrices =
      std::max(a.shape.count() / (rows * inner), b.shape.count() / (inner * columns));
  const auto part = [&](const Values& all, std::int64_t size, std::int64_t i) {
    const auto first =
        static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(all.size()) == size ? 0 : i * size);
    return Values(all.begin() + first, all.begin() + first + static_cast<std::ptrdiff_t>(size));
  };
  Values result;
  for (std::int64_t i = 0; i < matrices; ++i) {
    const Values y =
        product(backend, part(a.values, rows * inner, i), part(b.values, inner * columns, i), inner, {});
    result.insert(result.end(), y.begin(), y.end());
  }
  return result;
}

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

/// Both parts are cut out of one input by 0/1 matrices, then joined along the second axis of [before, rest].
Values run_concat(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor &left = each.inputs[0], &right = each.inputs[1];
  const std::int64_t axis = each.integer("axis", 0);
  const std::int64_t a = from_axis(left.shape, axis), b = from_axis(right.shape, axis);
  const std::int64_t rows = left.shape.count() / a;
  OnBackend run(backend, rows, [&](GraphBuilder& g) {
    const int x = g.input({a + b}, Dtype::f32);
    const int first = g.linear(x, "left", {.out_features = a, .bias = false}, {});
    const int second = g.linear(x, "right", {.out_features = b, .bias = false}, {});
    g.predict(g.apply(Concat{}, {first, second}, "op"));
  });
  const auto cut = [&](std::int64_t count, std::int64_t first) {
    Values weight(static_cast<std::size_t>(count * (a + b)), 0);
    for (std::int64_t i = 0; i < count; ++i) weight[static_cast<std::size_t>(i * (a + b) + first + i)] = 1;
    return weight;
  };
  run.set("left.weight", cut(a, 0));
  run.set("right.weight", cut(b, a));
  Values input;
  for (std::int64_t row = 0; row < rows; ++row) {
    input.insert(input.end(), left.values.begin() + row * a, left.values.begin() + (row + 1) * a);
    input.insert(input.end(), right.values.begin() + row * b, right.values.begin() + (row + 1) * b);
  }
  return run.predict(input);
}

/// Rows of an embedding.
Values run_gather(const OnnxCase& each, std::string_view backend) {
  const OnnxTensor &data = each.inputs[0], &indices = each.inputs[1];
  const std::int64_t width = data.shape.count() / data.shape[0];
  OnBackend run(backend, 1, [&](GraphBuilder& b) {
    b.predict(b.embedding(b.input({indices.shape.count()}, Dtype::i32), "op",
                          {.vocabulary = data.shape[0], .width = width}, {}));
  });
  run.set("op.weight", data.values);
  return run.predict(indices.values);
}

/// Causality hides keys beyond the queries, so they are cut off; heads [N, H, T, w] become channels [N, T, H
/// w].
Values run_attention(const OnnxCase& each, std::string_view backend) {
  const Shape& q = each.inputs[0].shape;
  const std::int64_t samples = q[0], heads = q[1], time = q[2], width = q[3];
  Values input(static_cast<std::size_t>(samples * time * 3 * heads * width));
  const auto for_each = [&](auto visit) {
    for (std::int64_t i = 0; i < samples * heads * time * width; ++i) {
      visit(i / (heads * time * width), i / (time * width) % heads, i / width % time, i % width);
    }
  };
  for (std::int64_t part = 0; part < 3; ++part) {
    const OnnxTensor& source = each.inputs[static_cast<std::size_t>(part)];
    for_each([&](auto n, auto h, auto t, auto c) {
      const auto from = ((n * heads + h) * source.shape[2] + t) * width + c;
      input[static_cast<std::size_t>(((n * time + t) * 3 + part) * heads * width + h * width + c)] =
          source.values[static_cast<std::size_t>(from)];
    });
  }
  OnBackend run(backend, samples, [&](GraphBuilder& b) {
    const int x = b.input({time, 3 * heads * width}, Dtype::f32);
    b.predict(b.apply(CausalAttention{.heads = heads}, {x}, "op"));
  });
  const Values y = run.predict(input);
  Values result;
  for_each([&](auto n, auto h, auto t, auto c) {
    result.push_back(y[static_cast<std::size_t>(((n * time + t) * heads + h) * width + c)]);
  });
  return result;
}

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
Values run_global_pool(const OnnxCase& each, std::string_view backend) {
  return run_plain(each, backend, GlobalAveragePool{}, each.inputs[0].shape);
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

using Run = Values (*)(const OnnxCase&, std::string_view);
const std::map<std::string, Run>& runners() {
  static const std::map<std::string, Run> table{{"Conv", run_conv},
                                                {"ConvTranspose", run_conv_transpose},
                                                {"MaxPool", run_pool},
                                                {"AveragePool", run_pool},
                                                {"GlobalAveragePool", run_global_pool},
                                                {"Gemm", run_gemm},
                                                {"MatMul", run_matmul},
                                                {"LayerNormalization", run_layer_norm},
                                                {"InstanceNormalization", run_instance_norm},
                                                {"Concat", run_concat},
                                                {"Gather", run_gather},
                                                {"Attention", run_attention},
                                                {"LogSoftmax", run_softmax},
                                                {"Softmax", run_softmax},
                                                {"SoftmaxCrossEntropyLoss", run_cross_entropy},
                                                {"ReduceMean", run_reduce_mean},
                                                {"LeakyRelu", run_leaky_relu},
                                                {"Gelu", run_gelu},
                                                {"Dropout", run_dropout},
                                                {"Flatten", run_flatten}};
  return table;
}

}  // namespace

std::string why_not_applicable(const OnnxCase& each) {
  if (each.op == "NegativeLogLikelihoodLoss") return "takes log-probabilities: ours joins softmax and loss";
  if (each.op == "Resize") return "nearest, or a scale that is no integer";
  if (each.op == "Adagrad") return "an optimizer, not an operation of a model";
  if (!runners().contains(each.op)) return "no such operation in our models";
  if (each.integer("ceil_mode", 0) != 0) return "pooling windows that reach over the edge (ceil_mode)";
  if (each.op == "SoftmaxCrossEntropyLoss" && each.inputs.size() > 2) return "class weights";
  if (each.op == "Attention" && each.integer("is_causal", 0) == 0) return "attention that is not causal";
  if (each.op == "Gather" && each.integer("axis", 0) != 0) return "rows are gathered along axis 0 only";
  if (each.op == "ConvTranspose" && each.has("auto_pad")) return "padding that differs between the two ends";
  const bool slides = each.op == "Conv" || each.op == "MaxPool" || each.op == "AveragePool";
  if (slides && !pads_of(each).symmetric()) return "padding that differs between the two ends";
  return {};
}

std::vector<double> run_onnx_case(const OnnxCase& each, std::string_view backend) {
  return runners().at(each.op)(each, backend);
}

}  // namespace lockstep::models::testing
