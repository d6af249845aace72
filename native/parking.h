// Waiting for another thread: awake for at most 1 ms, then asleep. Native threads and WebAssembly workers,
// each with what they have.
#pragma once
#include <stdint.h>

#ifndef __wasm__
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#endif

namespace lowbit {

// A sequentially consistent integer; std::atomic is not to be had in freestanding WebAssembly.
template <class T>
class Atomic {
 public:
  T load() const { return __atomic_load_n(&value_, __ATOMIC_SEQ_CST); }
  void store(T value) { __atomic_store_n(&value_, value, __ATOMIC_SEQ_CST); }
  // The value before the addition.
  T add(T amount) { return __atomic_fetch_add(&value_, amount, __ATOMIC_SEQ_CST); }
  // Keeps the bits of mask; the value after.
  T mask(T bits) { return __atomic_and_fetch(&value_, bits, __ATOMIC_SEQ_CST); }
  // Replaces expected by desired, or sets expected to what is there instead.
  bool replace(T& expected, T desired) {
    return __atomic_compare_exchange_n(&value_, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
  }
  T* address() { return &value_; }

 private:
  T value_ = 0;
};

#ifdef __wasm__

extern "C" __attribute__((import_module("env"), import_name("now"))) double lowbitNow();
inline double milliseconds() { return lowbitNow(); }
inline void pauseCpu() {}
inline void yieldCpu() {}

#else

inline double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
inline void pauseCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
inline void yieldCpu() { std::this_thread::yield(); }

#endif

// Waits for ready() until notify() is called after ready() became true.
// `sleepers` is raised before ready() is looked at for the last time, and notify() looks at it after ready()
// became true, both sequentially consistent: one of the two sees the other, so no wake-up is lost.
class Parking {
 public:
  template <class Ready>
  void wait(Ready ready) {
    const double deadline = milliseconds() + 1;
    do {
      for (int i = 0; i < 64; i++) {
        if (ready()) return;
        pauseCpu();
      }
      yieldCpu();
    } while (milliseconds() < deadline);
    sleep(ready);
  }

#ifdef __wasm__
  void notify() {
    if (sleepers_.load() == 0) return;
    // Who read the count of wake-ups before this finds it changed, or is asleep on it.
    wakeUps_.add(1);
    __builtin_wasm_memory_atomic_notify(wakeUps_.address(), ~0u);
  }

 private:
  template <class Ready>
  void sleep(Ready ready) {
    sleepers_.add(1);
    for (;;) {
      const int32_t seen = wakeUps_.load();
      if (ready()) break;
      __builtin_wasm_memory_atomic_wait32(wakeUps_.address(), seen, -1);
    }
    sleepers_.add(-1);
  }

  Atomic<int32_t> wakeUps_;
#else
  void notify() {
    if (sleepers_.load() == 0) return;
    // A sleeper between its last look and its sleep holds the mutex.
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }

 private:
  template <class Ready>
  void sleep(Ready ready) {
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.add(1);
    wake_.wait(lock, ready);
    sleepers_.add(-1);
  }

  std::mutex mutex_;
  std::condition_variable wake_;
#endif
  Atomic<int32_t> sleepers_;
};

}  // namespace lowbit
