// What a WebAssembly module exports besides its memory: a buffer for command lists, and run; with
// LOWBIT_THREADS also what makes the thread that calls it the leader of a pool, or one of its workers.
// src/devices/cpu/wasmWorker.ts calls them.
#include <stddef.h>
#include <stdint.h>

#include "parallel.h"
#include "stop.h"
#ifdef LOWBIT_THREADS
#include "pool.h"
#endif

namespace LOWBIT_ISA {
size_t run(const double* words, size_t count);
}

static constexpr size_t kCapacity = 65536;
static double words[kCapacity];

extern "C" {

// Where the worker puts a piece of a list, at most capacity() words.
__attribute__((export_name("list"))) double* list() { return words; }
__attribute__((export_name("capacity"))) size_t capacity() { return kCapacity; }

// Executes the whole records among the first count words, of which none begins once flag holds ticket or more;
// returns how many words it need not see again.
__attribute__((export_name("run"))) size_t run(size_t count, const int32_t* flag, int32_t ticket) {
  const lowbit::Stop stop = {flag, ticket};
#ifdef LOWBIT_THREADS
  lowbit::Pool::stopHere() = stop;
#endif
  size_t at = 0;
  while (at < count) {
    if (stop.raised()) return count;
    const size_t length = LOWBIT_ISA::run(words + at, count - at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

// This thread's kernels work in the memory from `start` to `end`, zero at first and 64-byte aligned.
static thread_local char *scratchNext, *scratchEnd;
__attribute__((export_name("scratch"))) void scratch(char* start, char* end) {
  scratchNext = start;
  scratchEnd = end;
}
void* lowbitScratch(size_t bytes) {
  char* taken = scratchNext;
  scratchNext += (bytes + 63) / 64 * 64;
  if (scratchNext > scratchEnd) __builtin_trap();
  return taken;
}

// The compiler may call these even where there is no C library.
void* memcpy(void* target, const void* source, size_t bytes) {
  return __builtin_memmove(target, source, bytes);
}
void* memmove(void* target, const void* source, size_t bytes) {
  return __builtin_memmove(target, source, bytes);
}
void* memset(void* target, int value, size_t bytes) { return __builtin_memset(target, value, bytes); }

}

#ifdef LOWBIT_THREADS

// All of it zero at first, so that no constructor need run.
static lowbit::Pool pool;

extern "C" {

// The kernels that this thread runs share their work among so many threads.
__attribute__((export_name("lead"))) void lead(int32_t threads) { lowbit::Pool::threadsHere() = threads; }

// This thread takes its part of them, for all its life.
__attribute__((export_name("work"))) void work() { pool.work(); }

void lowbitParallelFor(int32_t tasks, void (*body)(void*, int32_t), void* context) {
  const int32_t threads = lowbit::Pool::threadsHere();
  if (threads > 1 && tasks > 1) return pool.run(tasks, threads, body, context);
  const lowbit::Stop stop = lowbit::Pool::stopHere();
  for (int32_t task = 0; task < tasks && !stop.raised(); task++) body(context, task);
}

int32_t lowbitThreadCount() { return lowbit::Pool::threadsHere(); }

}

#else

extern "C" {

void lowbitParallelFor(int32_t tasks, void (*body)(void*, int32_t), void* context) {
  for (int32_t task = 0; task < tasks; task++) body(context, task);
}

int32_t lowbitThreadCount() { return 1; }

}

#endif
