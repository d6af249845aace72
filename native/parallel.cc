// How kernels, which are compiled once per instruction set, see the one pool (parallel.h).
#include "pool.h"

extern "C" {

void lowbitParallelFor(int32_t tasks, void (*body)(void*, int32_t), void* context) {
  const int32_t threads = lowbit::Pool::threadsHere();
  if (threads > 1 && tasks > 1) {
    lowbit::Pool::get().run(tasks, threads, body, context);
  } else {
    for (int32_t task = 0; task < tasks; task++) body(context, task);
  }
}

int32_t lowbitThreadCount() { return lowbit::Pool::threadsHere(); }

}
