// What a WebAssembly module exports besides its memory: a buffer for command lists, and run. src/devices/cpu/wasmWorker.ts calls them.
#include <stddef.h>
#include <stdint.h>

namespace LOWBIT_ISA {
size_t run(const double* words, size_t count);
}

static constexpr size_t kCapacity = 65536;
static double words[kCapacity];

extern "C" {

// Where the worker puts a piece of a list, at most capacity() words.
__attribute__((export_name("list"))) double* list() { return words; }
__attribute__((export_name("capacity"))) size_t capacity() { return kCapacity; }

// Executes the whole records among the first count words; returns how many words they took.
__attribute__((export_name("run"))) size_t run(size_t count) {
  size_t at = 0;
  while (at < count) {
    const size_t length = LOWBIT_ISA::run(words + at, count - at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

// The compiler may call these even where there is no C library.
void* memcpy(void* target, const void* source, size_t bytes) { return __builtin_memmove(target, source, bytes); }
void* memmove(void* target, const void* source, size_t bytes) { return __builtin_memmove(target, source, bytes); }
void* memset(void* target, int value, size_t bytes) { return __builtin_memset(target, value, bytes); }

}
