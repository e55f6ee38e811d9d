#include "trainer/schema.h"

#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/allreduce/schedule.h"
#include "comm/compress/compressor.h"
#include "comm/device_transport.h"
#include "data/loader.h"
#include "models/model.h"
#include "trainer/metric/metric.h"
#include "trainer/optim/optimizer.h"
#include "trainer/rate_schedule.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kRun[] = {
    {"seed", SettingType::integer, "1", "of everything random: initial weights, order, augmentation, dropout",
     "[0,inf)"},
    {"log_every", SettingType::integer, "10", "steps between logged steps", "[1,inf)"},
    {"trace_steps", SettingType::integer, "0",
     "so many steps are traced: trace/rank-R.json in the run directory shows what each rank did when",
     "[0,inf)"},
    {"trace_from", SettingType::integer, "10", "the first traced step", "[0,inf)"},
    {"deadline_s", SettingType::real, "300",
     "seconds any wait for a peer may take before the job ends; over NCCL also a recorded microbatch with "
     "its waits",
     "(0,inf)"},
};
constexpr Setting kBatch[] = {
    {"global", SettingType::integer, "0", "samples per step over all ranks; 0: per_rank * ranks", "[0,inf)"},
    {"per_rank", SettingType::integer, "0", "samples per step and rank; 0: global / ranks", "[0,inf)"},
    {"microbatch", SettingType::integer, "0",
     "samples of one forward and backward; 0: the whole batch of a rank", "[0,inf)"},
};
constexpr Setting kTrain[] = {
    {"steps", SettingType::integer, "0", "optimizer updates; 0: as epochs says", "[0,inf)"},
    {"epochs", SettingType::real, "0", "passes over the training data; 0: as steps says", "[0,inf)"},
    {"precision", SettingType::text, "f32",
     "of activations and products; master weights are f32; tf32 and f16 on GPUs only", "f32|tf32|bf16|f16"},
    {"gradients", SettingType::text, "f32",
     "what gradients are kept and sent in; bf16 on GPUs only, with precision bf16 and one microbatch a rank",
     "f32|bf16"},
    {"loss_scale", SettingType::real, "65536",
     "what f16 begins to scale the loss by; it is halved on overflow and doubled after 2000 good steps",
     "[1,16777216]"},
    {"reproducible", SettingType::boolean, "false",
     "the same bits at 1, 2, 4, 8 ranks and for any bucket size"},
    {"clip_norm", SettingType::real, "0", "bound of the global gradient norm; 0: none", "[0,inf)"},
    {"ema", SettingType::real, "0", "decay of the averaged weights that evaluation uses; 0: none", "[0,1)"},
    {"on_nonfinite", SettingType::text, "stop",
     "when a gradient is not finite: stop all ranks, or skip the step", "stop|skip"},
    {"max_skips", SettingType::integer, "10", "skipped steps after which training counts as diverged",
     "[0,inf)"},
};
constexpr Setting kModel[] = {
    {"recompute", SettingType::text, "none",
     "what backward computes a second time instead of keeping it: none, or all but the values between blocks "
     "of layers, which are chosen for the least memory; the same bits for up to a third more work",
     "none|blocks"},
};
constexpr Setting kOptimizer[] = {
    {"shard", SettingType::boolean, "false",
     "spread the optimizer's state over ranks (ZeRO stage 1): less memory, the same bits, half as many bytes "
     "sent again, for each rank hands its part of the new parameters to all"},
};
constexpr Setting kEval[] = {
    {"every_steps", SettingType::integer, "0", "steps between evaluations; 0: at the end only", "[0,inf)"},
    {"split", SettingType::text, "test", "split that evaluation reads"},
    {"microbatches", SettingType::integer, "0", "how many microbatches to evaluate; 0: the whole split",
     "[0,inf)"},
};
constexpr Setting kCheckpoint[] = {
    {"every_steps", SettingType::integer, "0",
     "steps between checkpoints; 0: at the end and on a signal only", "[0,inf)"},
    {"keep", SettingType::integer, "2", "newest checkpoints kept (the best one is kept besides)", "[1,inf)"},
    {"best", SettingType::boolean, "true", "keep the weights of the best evaluation"},
};
constexpr Setting kInit[] = {
    {"weights", SettingType::text, "", "file to start from: checkpoint, safetensors or HDF5 state dict"},
};
constexpr Setting kExchange[] = {
    {"bucket_mib", SettingType::real, "25", "largest bucket in MiB of fp32 gradients", "(0,inf)"},
    {"first_bucket_mib", SettingType::real, "1", "largest first bucket in MiB, small to start early",
     "(0,inf)"},
    {"overlap", SettingType::boolean, "true", "send buckets while backward still runs"},
};
constexpr Setting kCompress[] = {
    {"rules", SettingType::texts, "[]",
     "\"pattern=name\": slots that match (* and ? as in file names) go by that compressor; the first counts"},
    {"min_elements", SettingType::integer, "1024",
     "smaller slots, and all of one dimension, are summed exactly", "[0,inf)"},
    {"exact_steps", SettingType::integer, "-1",
     "first steps that are summed exactly; -1: a fifth of the training with ef_sign, topk, shared_topk, "
     "random_k, powersgd and sign_vote, else none; dgc and onebit_adam "
     "(optimizer.onebit_adam.freeze_steps) have a start of their own",
     "[-1,inf)"},
    {"sample_every", SettingType::integer, "20",
     "steps between comparisons of what was sent with the true sum; 0: never", "[0,inf)"},
};
constexpr Setting kDeviceSettings[] = {
    {"threads", SettingType::integer, "1", "library threads of a rank's compute stream", "[1,inf)"},
};
constexpr Setting kCudaSettings[] = {
    {"index", SettingType::integer, "-1",
     "GPU among the visible ones; -1: that of the rank's place on its node", "[-1,inf)"},
    {"share", SettingType::boolean, "false", "let ranks of a node share a GPU: slow, for trying things out"},
    {"graph", SettingType::text, "auto",
     "record a step as a CUDA graph: where all of its parts can be, always (or refuse), never",
     "auto|on|off"},
    {"tune", SettingType::boolean, "true",
     "time the libraries' algorithms at the start and keep the fastest; not in reproducible mode"},
};
constexpr Setting kData[] = {
    {"files", SettingType::texts, "[]", "HDF5 files or globs of the data set"},
    {"split", SettingType::text, "train", "split that training reads"},
};

/// What PyTorch, its DDP and DeepSpeed, Horovod and Hugging Face call these.
constexpr std::pair<std::string_view, std::string_view> kKnownElsewhere[] = {
    {"lr", "rate.peak"},
    {"learning_rate", "rate.peak"},
    {"lr_scheduler", "rate_shape.name"},
    {"scheduler", "rate_shape.name"},
    {"warmup", "rate.warmup_steps"},
    {"batch_size", "batch.global"},
    {"train_batch_size", "batch.global"},
    {"micro_batch_size", "batch.microbatch"},
    {"accumulation_steps", "batch.microbatch"},
    {"gradient_accumulation_steps", "batch.microbatch"},
    {"num_epochs", "train.epochs"},
    {"num_steps", "train.steps"},
    {"max_steps", "train.steps"},
    {"max_grad_norm", "train.clip_norm"},
    {"gradient_clipping", "train.clip_norm"},
    {"amp", "train.precision"},
    {"dtype", "train.precision"},
    {"deterministic", "train.reproducible"},
    {"activation_checkpointing", "model.recompute"},
    {"gradient_checkpointing", "model.recompute"},
    {"zero_stage", "optimizer.shard"},
    {"num_workers", "data.threads"},
    {"dataset", "data.files"},
    {"save_steps", "checkpoint.every_steps"},
    {"bucket_cap_mb", "exchange.bucket_mib"},
    {"compression", "compress.name"},
    {"backend", "transport.name"},
    {"timeout", "run.deadline_s"},
};

/// The trainer's own keys of section "data" and the loader's.
std::span<const Setting> data_settings() {
  static const std::vector<Setting> kAll = [] {
    std::vector<Setting> all(std::begin(kData), std::end(kData));
    all.insert(all.end(), data::loader_settings().begin(), data::loader_settings().end());
    return all;
  }();
  return kAll;
}

KindSchema device_kind() {
  return {"device",
          "auto",
          {{"auto", "a GPU when this build and machine have one, else the CPU", kDeviceSettings},
           {"cpu", "oneDNN on the CPU", kDeviceSettings},
           {"cuda", "an NVIDIA GPU", kCudaSettings},
           {"reference", "plain loops on the CPU: slow, the judge of the others", kDeviceSettings}}};
}

}  // namespace

Schema config_schema() {
  KindSchema allreduce = comm::schedules().schema(kDefaultSchedule);
  allreduce.rows.insert(allreduce.rows.begin(),
                        {kDefaultSchedule,
                         "`library` on GPUs, `shared` where all ranks are CPUs of one node, else and with "
                         "train.reproducible `halving_doubling`",
                         {}});
  Schema schema;
  schema.sections = {{"run", kRun},           {"batch", kBatch},           {"train", kTrain},
                     {"model", kModel},       {"optimizer", kOptimizer},   {"data", data_settings()},
                     {"eval", kEval},         {"checkpoint", kCheckpoint}, {"init", kInit},
                     {"exchange", kExchange}, {"compress", kCompress},     {"rate", rate_settings()}};
  schema.kinds = {models::models().schema(""),
                  models::losses().schema("softmax_cross_entropy"),
                  optimizers().schema("sgd"),
                  rate_shapes().schema("constant"),
                  metrics().schema("auto"),
                  std::move(allreduce),
                  comm::transports().schema("auto"),
                  comm::compressors().schema("none"),
                  device_kind()};
  schema.known_elsewhere.assign(std::begin(kKnownElsewhere), std::end(kKnownElsewhere));
  return schema;
}

}  // namespace lockstep::trainer
