// A thread pool: parallelFor for one leader at a time. parallel.cc makes it of native threads, wasm.cc of
// workers on a shared memory.
#pragma once
#include <stdint.h>

#include "parking.h"
#include "stop.h"

namespace lowbit {

// A job is a counter of tasks that the leader and the workers draw from. Workers enter by taking one of the
// job's seats; the leader takes back the seats left, waits until everyone who entered has left, and only then
// may the job's closure go away. Workers that are late, or never come, leave their share to the others.
class Pool {
 public:
  // Runs body(context, task) for every task in [0, tasks) on at most `threads` threads, this one included,
  // both of them above 1; returns when all are done, or none runs any more and this thread's stop is raised.
  void run(int32_t tasks, int32_t threads, void (*body)(void*, int32_t), void* context) {
    body_ = body;
    context_ = context;
    tasks_ = tasks;
    stop_ = stopHere();
    next_.store(0);
    state_.store((uint32_t)((threads < tasks ? threads : tasks) - 1) * kSeat);
    opened_.notify();
    draw();
    if (state_.mask(kSeat - 1) > 0) emptied_.wait([this] { return state_.load() == 0; });
  }

  // What a worker does for all its life.
  [[noreturn]] void work() {
    for (;;) {
      opened_.wait([this] { return state_.load() >= kSeat; });
      uint32_t state = state_.load();
      while (state >= kSeat && !state_.replace(state, state - kSeat + 1)) {
      }
      if (state < kSeat) continue;
      draw();
      if (state_.add(-1) == 1) emptied_.notify();
    }
  }

  // How many threads share the work of a parallelFor of this thread; 1 inside a task, so that nested calls
  // run inline.
  static int32_t& threadsHere() {
    static thread_local int32_t threads = 1;
    return threads;
  }

  // What leaves out the tasks not begun of every parallelFor of this thread.
  static Stop& stopHere() {
    static thread_local Stop stop;
    return stop;
  }

 private:
  // state_ = free seats · kSeat + workers inside.
  static constexpr uint32_t kSeat = 1 << 16;

  void draw() {
    int32_t& threads = threadsHere();
    const int32_t outside = threads;
    threads = 1;
    for (int32_t task = next_.add(1); task < tasks_ && !stop_.raised(); task = next_.add(1))
      body_(context_, task);
    threads = outside;
  }

  // Written by the leader before it opens the job, read by those who entered.
  void (*body_)(void*, int32_t) = nullptr;
  void* context_ = nullptr;
  int32_t tasks_ = 0;
  Stop stop_;
  // On cache lines of their own: every thread writes them.
  alignas(64) Atomic<int32_t> next_;
  alignas(64) Atomic<uint32_t> state_;
  alignas(64) Parking opened_;
  Parking emptied_;
};

}  // namespace lowbit
