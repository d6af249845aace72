// How the host stops a list of commands that runs: it raises a flag, which whoever runs the list reads.
#pragma once
#include <stdint.h>

namespace lowbit {

// A flag that is raised when it holds the ticket or more: who takes the flag next has a higher ticket, and
// never needs to lower it. Without a flag nothing stops.
struct Stop {
  const int32_t* flag = nullptr;
  int32_t ticket = 0;

  bool raised() const { return flag && __atomic_load_n(flag, __ATOMIC_RELAXED) >= ticket; }
};

}  // namespace lowbit
