// In place of parallel.cc in the driver: one thread runs the tasks of each kernel from the last to the first,
// as many as there would be for several. Tasks may run in any order, but threads draw them from the first on,
// which hides what is right by that alone: where one finds what another left in the thread's scratch.
#include "pool.h"

extern "C" {

void lowbitParallelFor(int32_t tasks, void (*body)(void*, int32_t), void* context) {
  int32_t& threads = lowbit::Pool::threadsHere();
  const int32_t outside = threads;
  threads = 1;
  for (int32_t task = tasks - 1; task >= 0; task--) body(context, task);
  threads = outside;
}

int32_t lowbitThreadCount() { return lowbit::Pool::threadsHere(); }

}
