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

/* How far errors are shrunk in a step. */
struct HqqStep {
  float weight, threshold, norm;

  HqqStep(double strength, float norm) : weight((float)(1 / strength)), norm(norm) {
    /* |z| = |z|^(norm − 1)·weight there; a little less, so that rounding decides nothing. */
    threshold = 0.99f * exp((float)(log((double)weight) / (2 - (double)norm)));
  }
};

/* Sums over a row: of the errors' magnitudes, and of what its shift is to become. */
struct HqqSums {
  double distance, shift;
};

template <int dtype>
INLINE HqqSums hqqSums(const void* x, size_t start, int32_t cols, const HqqRow& row, const HqqStep& step) {
  WideSum distance, shift;
  HqqSums rest = {};
  for (int32_t c = 0; c < cols; c += LANES) {
    bool whole = c <= cols - LANES;
    f32v v = whole ? loadFloat<dtype>(x, start + c) : loadFloatPartial(x, dtype, start + c, cols - c);
    f32v scaled = hqqScaled<dtype>(v, row), z = hqqError<dtype>(v, scaled, row), far = abs(z);
    f32v e = any(far > step.threshold) ? hqqShrink<dtype>(z, step.threshold, step.weight, step.norm) : f32v{};
    f32v moved = roundTo<dtype>(scaled - roundTo<dtype>(v - e));
    if (whole) {
      distance.add(far);
      shift.add(moved);
    } else {
      for (int i = 0; i < cols - c; i++) rest.distance += far[i], rest.shift += moved[i];
    }
  }
  return {distance.total() + rest.distance, shift.total() + rest.shift};
}

void hqqShift(const void* x, int32_t dtype, const void* scale, void* shift, void* trial, void* next,
              float* error, int32_t* iterations, int32_t rows, int32_t cols, int32_t levels, float norm,
              float beta, float kappa, int32_t maxIterations) {
  withWeightFloat(dtype, [&](auto type) {
    constexpr int xType = decltype(type)::value;
    /* The error of a step and the step behind it, so that x is read once for both. */
    auto pass = [&](double strength) {
      HqqStep step(strength, norm);
      eachRow(rows, cols, [&](int32_t r) {
        HqqRow row{readFloat(scale, xType, r), readFloat(trial, xType, r), (float)levels};
        HqqSums sums = hqqSums<xType>(x, (size_t)r * cols, cols, row, step);
        error[r] = (float)(sums.distance / cols);
        writeFloat(next, xType, r, (float)(sums.shift / cols));
      });
      double total = 0;
      for (int32_t r = 0; r < rows; r++) total += error[r];
      return roundTo((float)(total / rows), xType);
    };
    size_t bytes = (size_t)rows * bytesOf(dtype);
    __builtin_memcpy(trial, shift, bytes);
    double strength = beta;
    float best = pass(strength);
    for (*iterations = 0; *iterations < maxIterations;) {
      __builtin_memcpy(trial, next, bytes);
      strength *= kappa;
      ++*iterations;
      float mean = pass(strength);
      if (!(mean < best)) return;
      best = mean;
      __builtin_memcpy(shift, trial, bytes);
    }
  });
}

}  // namespace LOWBIT_ISA
