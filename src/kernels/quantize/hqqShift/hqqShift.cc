#include "../quantize/round.h"
#include "../../reduce/reduce/row.h"
#include "simd.h"

namespace LOWBIT_ISA {

/* What the passes over a row need; the shift is that of the pass. */
struct HqqRow {
  float scale, shift, levels;
};

/* scale·q of values x. */
template <int dtype> INLINE f32v hqqScaled(f32v x, const HqqRow& row) {
  if (row.scale == 0) return f32v{};
  f32v units = roundTo<dtype>(roundTo<dtype>(x + row.shift) / row.scale);
  f32v code = roundHalfEven(max(splat(0.0f), min(splat(row.levels), units)));
  return roundTo<dtype>(select(code == code, code, splat(0.0f)) * row.scale);
}

/* x - (scale·q - shift). */
template <int dtype> INLINE f32v hqqError(f32v x, f32v scaled, const HqqRow& row) {
  return roundTo<dtype>(x - roundTo<dtype>(scaled - row.shift));
}

/* Σ f(x) in float64 over the row of cols values from start on, values in their dtype. */
template <int dtype, class F> INLINE double hqqSum(const void* x, size_t start, int32_t cols, F f) {
  f64v sums[2] = {};
  float values[LANES];
  int32_t c = 0;
  for (; c <= cols - LANES; c += LANES) {
    store(values, f(loadFloat<dtype>(x, start + c)));
    sums[0] += widen(values);
    sums[1] += widen(values + HALF);
  }
  double sum = sumOf(sums[0] + sums[1]);
  if (c < cols) {
    f32v rest = f(loadFloatPartial(x, dtype, start + c, cols - c));
    for (int i = 0; i < cols - c; i++) sum += rest[i];
  }
  return sum;
}

/* shrink(z), where |z| is above the threshold; below it the result is 0, and it mostly is. */
template <int dtype> INLINE f32v hqqShrink(f32v z, float threshold, float weight, float norm) {
  f32v e = {};
  for (int i = 0; i < LANES; i++) {
    float magnitude = z[i] < 0 ? -z[i] : z[i];
    if (!(magnitude > threshold)) continue;
    /* |z|^(norm − 1) = e^h·(1 + d), where h is what float32 keeps of the exponent and d the rest. */
    double exponent = ((double)norm - 1) * log((double)magnitude);
    float high = (float)exponent;
    float power = (float)((double)exp(high) * (1 + (exponent - high)));
    float smaller = roundTo(magnitude - roundTo(weight * roundTo(power, dtype), dtype), dtype);
    if (smaller > 0) e[i] = z[i] < 0 ? -smaller : smaller;
  }
  return e;
}

void hqqShift(const void* x, int32_t dtype, const void* scale, void* shift, void* trial, float* error,
              int32_t* iterations, int32_t rows, int32_t cols, int32_t levels, float norm, float beta,
              float kappa, int32_t maxIterations) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    auto rowOf = [&](int32_t r, const void* shifts) {
      return HqqRow{readFloat(scale, dtype, r), readFloat(shifts, dtype, r), (float)levels};
    };
    auto measure = [&]() {
      eachRow(rows, cols, [&](int32_t r) {
        HqqRow row = rowOf(r, trial);
        auto distance = [&](f32v v) { return abs(hqqError<xType>(v, hqqScaled<xType>(v, row), row)); };
        error[r] = (float)(hqqSum<xType>(x, (size_t)r * cols, cols, distance) / cols);
      });
      double total = 0;
      for (int32_t r = 0; r < rows; r++) total += error[r];
      return roundTo((float)(total / rows), dtype);
    };
    size_t bytes = (size_t)rows * bytesOf(dtype);
    __builtin_memcpy(trial, shift, bytes);
    float best = measure();
    double strength = beta;
    *iterations = 0;
    while (*iterations < maxIterations) {
      float weight = (float)(1 / strength);
      /* |z| = |z|^(norm − 1)·weight there; a little less, so that rounding decides nothing. */
      float threshold = 0.99f * exp((float)(log((double)weight) / (2 - (double)norm)));
      eachRow(rows, cols, [&](int32_t r) {
        HqqRow row = rowOf(r, shift);
        double sum = hqqSum<xType>(x, (size_t)r * cols, cols, [&](f32v v) {
          f32v scaled = hqqScaled<xType>(v, row);
          f32v error = hqqError<xType>(v, scaled, row);
          f32v e = max(abs(error)) > threshold ? hqqShrink<xType>(error, threshold, weight, norm) : f32v{};
          return roundTo<xType>(scaled - roundTo<xType>(v - e));
        });
        writeFloat(trial, dtype, r, (float)(sum / cols));
      });
      ++*iterations;
      float mean = measure();
      if (!(mean < best)) return;
      best = mean;
      __builtin_memcpy(shift, trial, bytes);
      strength *= kappa;
    }
  });
}

}  // namespace LOWBIT_ISA
