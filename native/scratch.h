/* What the kernels of a thread work in: memory of its own beside its stack. A part of simd.h. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
// So many bytes of this thread's own for good, zero at first and 64-byte aligned (wasm.cc).
extern "C" void* lowbitScratch(size_t bytes);
#else
#include <stdlib.h>
#endif

namespace LOWBIT_ISA {

/*
 * This thread's one T, all of it zero at first. A WebAssembly module would hold the zeros of a thread-local
 * variable, half a megabyte for all kernels; there the worker gives the memory.
 */
template <class T> INLINE T& scratchHere() {
#ifdef __wasm__
  static thread_local T* mine = nullptr;
  if (!mine) mine = (T*)lowbitScratch(sizeof(T));
  return *mine;
#else
  alignas(64) static thread_local T mine;
  /* GCC would rather look up a thread's address again, even in a loop, than keep it. */
  T* here = &mine;
  asm("" : "+r"(here));
  return *here;
#endif
}

#ifndef __wasm__
/*
 * This thread's memory for so many floats, of one kernel by the name of a type: it holds anything at first,
 * and stays for the next call, which may move it. Null if there is none.
 */
template <class Name> static float* roomHere(size_t count) {
  struct Room {
    void* block = nullptr;
    size_t count = 0;
    ~Room() { free(block); }
  };
  static thread_local Room room;
  if (room.count < count) {
    free(room.block);
    room.block = malloc(count * sizeof(float) + 64);
    room.count = room.block ? count : 0;
  }
  return room.block ? (float*)(((uintptr_t)room.block + 63) / 64 * 64) : nullptr;
}
#endif

}  // namespace LOWBIT_ISA
