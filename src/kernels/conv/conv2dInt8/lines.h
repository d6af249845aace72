#pragma once
#include "../conv2d/planes.h"

/* Pixels of an int8 image as operands of dot products. */

namespace LOWBIT_ISA {

/* A tile of sums has TILE_CHANNELS channels and PIXEL_VECTORS vectors of pixels: half of the registers. */
constexpr int TILE_CHANNELS = 4, PIXEL_VECTORS = LANES == 16 ? 4 : 2, TILE_PIXELS = PIXEL_VECTORS * LANES;
/* Pixels that are interleaved at a time, and what is written of a line is a multiple of. */
constexpr int32_t LINE_STEP = 64;

/*
 * Where the values of a tensor [samples, channels, height, width] lie. A convolution that sees every pixel by
 * itself takes a batch as one image, a row of it a sample.
 */
struct Layout {
  size_t sample, plane, row;
  int32_t height, width;
};

/*
 * Outputs are computed along one line: row after row, each as wide as the windows need it, so that the tap
 * (i, j) of the window at `position` is a byte so far behind position in the phase of the stride to which it
 * belongs, wherever the position is:
 *
 *     position = row · width + column             column >= outWidth: nobody's
 *     phase (a, b) = the bytes (row · strideHeight + a − paddingHeight, column · strideWidth + b − …)
 *     tap (i, j) = phase (i · dilation mod stride, …)[position + ⌊i · dilation / stride⌋ · width + ⌊j · … ⌋]
 */
struct Line {
  int32_t width, count;         /* of a row; up to the last output of a sample */
  int32_t rowPhases, colPhases; /* those that windows see */
  int32_t reach, colReach;      /* how far behind a position its last tap lies; in its row */

  Line(const ConvSizes& s) {
    const int32_t down = (s.kernelHeight - 1) * s.dilationHeight, across = (s.kernelWidth - 1) * s.dilationWidth;
    colReach = across / s.strideWidth;
    width = s.outWidth + colReach;
    count = (s.outHeight - 1) * width + s.outWidth;
    rowPhases = down < s.strideHeight ? down + 1 : s.strideHeight;
    colPhases = across < s.strideWidth ? across + 1 : s.strideWidth;
    reach = down / s.strideHeight * width + colReach;
  }
};

#if LANES == 16
/* A bit for each of the first n bytes. */
INLINE uint64_t firstBytes(int32_t n) { return n >= 64 ? ~0ull : n > 0 ? (1ull << n) - 1 : 0; }
#endif

#if LANES == 16
/* Vectors of bytes, of which a mask chooses. */
struct Bytes64 {
  INLINE __m512i load(uint64_t mask, const uint8_t* p) { return _mm512_maskz_loadu_epi8(mask, p); }
  INLINE __m256i even(__m512i bytes) { return _mm512_cvtepi16_epi8(bytes); }
  INLINE void store(uint64_t mask, const uint8_t* from, uint8_t* to) {
    _mm512_mask_storeu_epi8(to, mask, _mm512_loadu_si512(from));
  }
};
struct Bytes32 {
  INLINE __m256i load(uint64_t mask, const uint8_t* p) { return _mm256_maskz_loadu_epi8((__mmask32)mask, p); }
  INLINE __m128i even(__m256i bytes) { return _mm256_cvtepi16_epi8(bytes); }
  INLINE void store(uint64_t mask, const uint8_t* from, uint8_t* to) {
    _mm256_mask_storeu_epi8(to, (__mmask32)mask, loadAs<__m256i>(from));
  }
};
struct Bytes16 {
  INLINE __m128i load(uint64_t mask, const uint8_t* p) { return _mm_maskz_loadu_epi8((__mmask16)mask, p); }
  INLINE __m128i even(__m128i bytes) { return _mm_cvtepi16_epi8(bytes); }
  INLINE void store(uint64_t mask, const uint8_t* from, uint8_t* to) {
    _mm_mask_storeu_epi8(to, (__mmask16)mask, loadAs<__m128i>(from));
  }
};

/* body(the shortest of them that holds n bytes): a longer one would take as long as several rows. */
template <class Body> INLINE void withVector(int32_t n, Body&& body) {
  if (n <= 16) body(Bytes16{});
  else if (n <= 32) body(Bytes32{});
  else body(Bytes64{});
}
#endif

/* to [count] = from, out of scratch, which is read in whole vectors; nothing behind `count` is written. */
static void placeBytes(const uint8_t* from, int32_t count, uint8_t* to) {
#if LANES == 16
  for (int32_t i = 0; i < count; i += 64)
    _mm512_mask_storeu_epi8(to + i, firstBytes(count - i), _mm512_loadu_si512(from + i));
#else
  __builtin_memcpy(to, from, count);
#endif
}

/*
 * to [count], position i: row[i · step] for those from `first` to before `end`, 0 elsewhere; whole vectors
 * are written.
 */
static void fillRow(const uint8_t* row, int32_t step, int32_t first, int32_t end, int32_t count,
                    uint8_t* to) {
  int32_t i = 0;
#if LANES == 16
  for (; step == 1 && i < count; i += 64)
    _mm512_storeu_si512(to + i, _mm512_maskz_loadu_epi8(firstBytes(end - i) & ~firstBytes(first - i), row + i));
  for (; step == 2 && i < count; i += 32) {
    const uint64_t mask = firstBytes(2 * (end - i) - 1) & ~firstBytes(2 * (first - i));
    storeAs(to + i, _mm512_cvtepi16_epi8(_mm512_maskz_loadu_epi8(mask, row + 2 * i)));
  }
#endif
  if (i < count) {
    __builtin_memset(to, 0, count);
    if (step == 1 && end > first) __builtin_memcpy(to + first, row + first, end - first);
    else for (i = first; i < end; i++) to[i] = row[i * (ptrdiff_t)step];
  }
}

/* to [count] = the bytes of phase (a, b) of a plane from `position` on, 0 outside of the image. */
static void fillLine(const uint8_t* plane, const Layout& in, const ConvSizes& s, const Line& line, int32_t a,
                     int32_t b, int32_t position, int32_t count, uint8_t* to) {
  int32_t row = position / line.width, col = position - row * line.width;
  /* Columns that lie in the image. */
  const auto columns = [&](int32_t pixels) {
    return pixels <= 0 ? 0 : s.strideWidth == 1 ? pixels : (pixels + s.strideWidth - 1) / s.strideWidth;
  };
  const int32_t left = b - s.paddingWidth, begin = columns(-left), end = columns(in.width - left);
#if LANES == 16
  if (col == 0 && line.width * s.strideWidth <= 64 && s.strideWidth <= 2) {
    const auto known = [&](int32_t position) { return firstBytes(position * s.strideWidth); };
    const uint64_t mask = known(end < line.width ? end : line.width) & ~known(begin);
    const int32_t inRow = row * s.strideHeight + a - s.paddingHeight;
    const ptrdiff_t stride = s.strideHeight * (ptrdiff_t)in.row;
    const uint8_t* from = plane + inRow * (ptrdiff_t)in.row + left;
    return withVector(line.width * s.strideWidth, [&](auto vector) {
      for (int32_t i = inRow; count > 0; i += s.strideHeight, from += stride, to += line.width) {
        count -= line.width;
        const auto bytes = vector.load((uint32_t)i < (uint32_t)in.height ? mask : 0, from);
        if (s.strideWidth == 1) storeAs(to, bytes);
        else storeAs(to, vector.even(bytes));
      }
    });
  }
#endif
  for (; count > 0; col = 0, row++) {
    const int32_t run = line.width - col < count ? line.width - col : count;
    const int32_t inRow = row * s.strideHeight + a - s.paddingHeight;
    int32_t first = begin > col ? begin - col : 0, stop = end - col < run ? end - col : run;
    if (first > run) first = run;
    if (inRow < 0 || inRow >= in.height || stop < first) stop = first;
    fillRow(plane + inRow * (ptrdiff_t)in.row + col * s.strideWidth + left, s.strideWidth, first, stop, run, to);
    to += run;
    count -= run;
  }
}

#if LANES == 16
/*
 * Packing and unpacking stay within 128 bits: what is to come out in order goes in as columns of 4 × 4 words,
 * and back.
 */
INLINE __m512i wordColumns() {
  return _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
}
#endif

/*
 * words [count] = byte j of four lines in byte j of each, moved up by INT8_OFFSET; whole steps are written,
 * of lines only their first `known` bytes are read.
 */
static void interleave(const uint8_t* const lines[4], int32_t count, int32_t known, uint32_t* words) {
#if LANES == 16
  for (int32_t i = 0; i < count; i += 64, words += 64) {
    const uint64_t mask = known - i >= 64 ? ~0ull : known > i ? (1ull << (known - i)) - 1 : 0;
    __m512i bytes[4];
    for (int j = 0; j < 4; j++) {
      __m512i loaded = _mm512_maskz_loadu_epi8(mask, lines[j] + i);
      bytes[j] = _mm512_permutexvar_epi32(wordColumns(), _mm512_xor_si512(loaded, _mm512_set1_epi8((char)0x80)));
    }
    const __m512i low01 = _mm512_unpacklo_epi8(bytes[0], bytes[1]);
    const __m512i high01 = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(bytes[2], bytes[3]);
    const __m512i high23 = _mm512_unpackhi_epi8(bytes[2], bytes[3]);
    _mm512_storeu_si512(words, _mm512_unpacklo_epi16(low01, low23));
    _mm512_storeu_si512(words + 16, _mm512_unpackhi_epi16(low01, low23));
    _mm512_storeu_si512(words + 32, _mm512_unpacklo_epi16(high01, high23));
    _mm512_storeu_si512(words + 48, _mm512_unpackhi_epi16(high01, high23));
  }
#else
  typedef uint8_t bytes16 __attribute__((vector_size(16)));
  typedef uint16_t halves8 __attribute__((vector_size(16)));
  for (int32_t i = 0; i < count; i += 16, words += 16) {
    bytes16 bytes[4] = {};
    for (int j = 0; j < 4; j++) {
      if (known - i >= 16) bytes[j] = loadAs<bytes16>(lines[j] + i);
      else for (int32_t k = i; k < known; k++) bytes[j][k - i] = lines[j][k];
      bytes[j] ^= (uint8_t)INT8_OFFSET;
    }
    auto low = [](bytes16 a, bytes16 b) {
      return (halves8)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    };
    auto high = [](bytes16 a, bytes16 b) {
      return (halves8)__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                              31);
    };
    auto store = [&](int at, halves8 a, halves8 b) {
      storeAs(words + at, __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11));
      storeAs(words + at + 4, __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15));
    };
    store(0, low(bytes[0], bytes[1]), low(bytes[2], bytes[3]));
    store(8, high(bytes[0], bytes[1]), high(bytes[2], bytes[3]));
  }
#endif
}

}  // namespace LOWBIT_ISA
