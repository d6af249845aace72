// How kernels, which are compiled once per instruction set, see the one pool of the process (parallel.h).
#include <algorithm>
#include <mutex>
#include <system_error>
#include <thread>

#include "pool.h"

namespace {

constexpr int32_t kMaxThreads = 256;

// The pool with its native threads, for whichever queue thread asks.
struct ProcessPool {
  std::mutex leader;
  int32_t workers = 0;
  lowbit::Pool pool;

  void run(int32_t tasks, int32_t threads, void (*body)(void*, int32_t), void* context) {
    std::lock_guard<std::mutex> lead(leader);
    threads = std::min(threads, kMaxThreads);
    try {
      for (; workers < std::min(threads, tasks) - 1; workers++) std::thread([this] { pool.work(); }).detach();
    } catch (const std::system_error&) {
      // The system grants no more threads: those there are do the work.
    }
    pool.run(tasks, threads, body, context);
  }
};

// Never destroyed: its threads may outlive every environment.
ProcessPool& processPool() {
  static ProcessPool* pool = new ProcessPool;
  return *pool;
}

}  // namespace

extern "C" {

void lowbitParallelFor(int32_t tasks, void (*body)(void*, int32_t), void* context) {
  const int32_t threads = lowbit::Pool::threadsHere();
  if (threads > 1 && tasks > 1) return processPool().run(tasks, threads, body, context);
  const lowbit::Stop stop = lowbit::Pool::stopHere();
  for (int32_t task = 0; task < tasks && !stop.raised(); task++) body(context, task);
}

int32_t lowbitThreadCount() { return lowbit::Pool::threadsHere(); }

}
