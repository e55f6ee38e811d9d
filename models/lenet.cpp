// LeNet-5 (LeCun et al., 1998) in its usual modern form: ReLU, max pooling, no partial connections. 28 x 28
// images are padded to the paper's 32 x 32.
#include <spdlog/fmt/fmt.h>

#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

class LeNet final : public Model {
 public:
  void build(GraphBuilder& builder, const Task& task) const override {
    expect_images(task, "lenet");
    expect_labels(task, "lenet");
    const std::int64_t padding = task.input[1] < 32 ? 2 : 0;
    int x = builder.input(task.input, task.input_dtype);
    x = stage(builder, x, 1, 6, padding);
    x = stage(builder, x, 2, 16, 0);
    x = flatten(builder, x);
    x = relu(builder, linear(builder, x, "fc1", 120), "relu3");
    x = relu(builder, linear(builder, x, "fc2", 84), "relu4");
    builder.predict(linear(builder, x, "fc3", task.classes));
  }

 private:
  static int stage(GraphBuilder& builder, int x, int number, std::int64_t channels, std::int64_t padding) {
    const Init init = uniform_fan_in(builder.shape(x)[1] * 5 * 5);
    const Conv2d conv{.out_channels = channels, .kernel = {5, 5}, .padding = {padding, padding}};
    x = builder.conv2d(x, fmt::format("conv{}", number), conv, init, init);
    x = relu(builder, x, fmt::format("relu{}", number));
    return builder.apply(MaxPool{}, {x}, fmt::format("pool{}", number));
  }
};

}  // namespace

std::span<const Setting> lenet_settings() noexcept { return {}; }
std::unique_ptr<Model> make_lenet(const Options&) { return std::make_unique<LeNet>(); }

}  // namespace lockstep::models
