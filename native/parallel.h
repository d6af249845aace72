// parallelFor: a kernel splits its own work. Tasks go to whichever thread is free, so make more tasks than
// threads, each worth some 20 microseconds or more; work below that is one task. Called inside a task, it
// runs its own tasks right there.
#pragma once
#include <stdint.h>

// Kernels are compiled once per instruction set; what is linked to them (parallel.cc, wasm.cc) has threads or
// not.
extern "C" {
// Runs body(context, task) for every task in [0, tasks) and returns when all are done (pool.h).
void lowbitParallelFor(int32_t tasks, void (*body)(void* context, int32_t task), void* context);
// Threads that a parallelFor called here would use.
int32_t lowbitThreadCount();
}

namespace LOWBIT_ISA {

inline int32_t threadCount() { return lowbitThreadCount(); }

// How many tasks of b each make a.
inline int32_t ceilDivide(int64_t a, int64_t b) { return (int32_t)((a + b - 1) / b); }

// How many of `count` things a task takes, at most `most`: tasks of one size, as many for each thread, but
// none below an eighth of that.
inline int32_t evenShare(int32_t count, int32_t most) {
  const int32_t threads = threadCount(), tasks = ceilDivide(ceilDivide(count, most), threads) * threads;
  const int32_t share = ceilDivide(count, tasks), least = most / 8 + 1;
  return share < least ? least : share;
}

// body(int32_t task) for every task in [0, tasks); blocks until all are done.
template <class F>
inline void parallelFor(int32_t tasks, F&& body) {
  auto* closure = &body;
  lowbitParallelFor(
      tasks, [](void* context, int32_t task) { (*(decltype(closure))context)(task); }, (void*)closure);
}

}  // namespace LOWBIT_ISA
