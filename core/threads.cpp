#include "core/threads.h"

#include <pthread.h>

namespace lockstep {

void name_this_thread(const std::string& name) {
  constexpr std::size_t kLongest = 15;  // Linux: 16 bytes with the closing zero
  pthread_setname_np(pthread_self(), name.substr(0, kLongest).c_str());
}

}  // namespace lockstep
