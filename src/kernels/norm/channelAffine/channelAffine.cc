#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

void channelAffine(const float* x, const float* scale, const float* shift, float* y, int32_t outer,
                   int32_t channels, int32_t inner) {
  if (inner == 1) {
    /* One value a channel: channels lie side by side. */
    eachRow(outer, channels, [&](int32_t o) {
      size_t at = (size_t)o * channels;
      for (int32_t c = 0; c < channels; c += LANES) {
        f32v offset = shift ? loadUpTo(shift + c, channels - c) : splat(0.0f);
        storeUpTo(y + at + c,
                  fma(loadUpTo(x + at + c, channels - c), loadUpTo(scale + c, channels - c), offset),
                  channels - c);
      }
    });
    return;
  }
  eachRow(outer * channels, inner, [&](int32_t row) {
    int32_t c = row % channels;
    size_t at = (size_t)row * inner;
    f32v factor = splat(scale[c]), offset = splat(shift ? shift[c] : 0.0f);
    for (int32_t i = 0; i < inner; i += LANES)
      storeUpTo(y + at + i, fma(loadUpTo(x + at + i, inner - i), factor, offset), inner - i);
  });
}

}  // namespace LOWBIT_ISA
