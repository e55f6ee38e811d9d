#include "comm/allreduce/auto.h"

#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"schedule", SettingType::text, "",
     "keep this one and choose the rest: \"ring:segment=65536\"; empty: choose"},
    {"bucket_mib", SettingType::real, "0", "keep this bucket size; 0: choose", "[0,inf)"},
    {"cache", SettingType::boolean, "true",
     "keep choices in $XDG_CACHE_HOME/lockstep for the same model, hosts and ranks"},
};

}  // namespace

AutoSchedule::AutoSchedule() : chosen_(schedule_called("shared")) {}

std::unique_ptr<Schedule> make_auto(const Options&) { return std::make_unique<AutoSchedule>(); }

std::span<const Setting> auto_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
