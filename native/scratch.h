/* What the kernels of a thread work in: memory of its own beside its stack. A part of simd.h. */
#pragma once
#include <stddef.h>

#ifdef __wasm__
// So many bytes of this thread's own for good, zero at first and 64-byte aligned (wasm.cc).
extern "C" void* lowbitScratch(size_t bytes);
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
  return mine;
#endif
}

}  // namespace LOWBIT_ISA
