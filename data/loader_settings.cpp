// The keys of section "data" that say how samples become inputs.
#include <array>

#include "data/loader.h"

namespace lockstep::data {
namespace {

constexpr std::array kSettings{
    Setting{"input", SettingType::text, "",
            "tensor that feeds the model; empty: image, input, field or tokens, or the only candidate"},
    Setting{"target", SettingType::text, "",
            "tensor to predict; empty: label, target or mask, or the field itself when down-sampled"},
    Setting{"classes", SettingType::integer, "0", "number of classes; 0: what the files state",
            "[0,2147483647]"},
    Setting{"ignore_label", SettingType::integer, "-100", "label that no loss counts"},
    Setting{
        "normalise", SettingType::boolean, "true",
        "subtract the mean and divide by the deviation per channel; 8-bit images are scaled to [0,1] first"},
    Setting{"mean", SettingType::reals, "[]", "per channel; empty: what the files state"},
    Setting{"deviation", SettingType::reals, "[]", "per channel; empty: what the files state"},
    Setting{"shuffle", SettingType::boolean, "true",
            "another order every epoch when training; false: as stored, every epoch"},
    Setting{"crop", SettingType::text, "none",
            "random crop when training: of the image padded with zeros, or of random size and shape",
            "none|padded|resized"},
    Setting{"crop_padding", SettingType::integer, "4", "pixels added on each side by crop: padded",
            "[0,inf)"},
    Setting{"crop_scale", SettingType::reals, "[0.08, 1]",
            "least and largest part of the area that crop: "
            "resized takes"},
    Setting{"crop_ratio", SettingType::reals, "[0.75, 1.3333333]",
            "least and largest ratio of width to height that crop: resized takes"},
    Setting{"size", SettingType::integer, "0",
            "side of the square image fed to the model, cropped from the centre at evaluation; 0: as stored",
            "[0,inf)"},
    Setting{"flip", SettingType::boolean, "false", "mirror half of the images when training"},
    Setting{"context", SettingType::integer, "256", "tokens in a window of a token set", "[1,inf)"},
    Setting{"windows", SettingType::text, "tiled",
            "windows of a token set when training: tiled (each token once an epoch) or at random offsets",
            "tiled|random"},
    Setting{"downsample", SettingType::integer, "1",
            "super-resolution: the input is the target field averaged over squares of this side", "[1,inf)"},
    Setting{"upsample", SettingType::text, "none", "brings the down-sampled input back to the target's size",
            "none|nearest|bilinear"},
    Setting{"tail", SettingType::text, "drop",
            "samples that fill no step: dropped (others each epoch), or wrap: filled from the epoch's start",
            "drop|wrap"},
    Setting{"sharding", SettingType::text, "global",
            "global: one order over all samples, the same for any number of ranks; files: each rank keeps to "
            "its files and shuffles within them",
            "global|files"},
    Setting{"threads", SettingType::integer, "1", "threads that read and decode ahead", "[1,64]"},
    Setting{"cache_mb", SettingType::integer, "512", "decoded data kept in memory by a rank, MB", "[0,inf)"},
};

}  // namespace

std::span<const Setting> loader_settings() { return kSettings; }

Tail tail_of(const Options& settings) { return settings.text("tail") == "wrap" ? Tail::wrap : Tail::drop; }

std::size_t cache_bytes_of(const Options& settings) {
  return static_cast<std::size_t>(settings.integer("cache_mb")) << 20;
}

}  // namespace lockstep::data
