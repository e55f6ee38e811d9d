// Matrix products, and operators that pick or join parts of tensors.
#include "onnx_operators.h"

#include <algorithm>

namespace lockstep::models::testing {

namespace {

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

}  // namespace

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

}  // namespace lockstep::models::testing
