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
    const int32_t down = (s.kernelHeight - 1) * s.dilationHeight;
    const int32_t across = (s.kernelWidth - 1) * s.dilationWidth;
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
  const auto copy = [&](auto bytes) {
    constexpr int32_t size = decltype(bytes)::value;
    int32_t i = 0;
    for (; i + size <= count; i += size) __builtin_memcpy(to + i, from + i, size);
    if (i < count) __builtin_memcpy(to + count - size, from + count - size, size);
  };
  if (count >= 16) copy(Constant<16>{});
  else if (count >= 8) copy(Constant<8>{});
  else if (count >= 4) copy(Constant<4>{});
  else for (int32_t i = 0; i < count; i++) to[i] = from[i];
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
    _mm512_storeu_si512(
        to + i, _mm512_maskz_loadu_epi8(firstBytes(end - i) & ~firstBytes(first - i), row + i));
  for (; step == 2 && i < count; i += 32) {
    const uint64_t mask = firstBytes(2 * (end - i) - 1) & ~firstBytes(2 * (first - i));
    storeAs(to + i, _mm512_cvtepi16_epi8(_mm512_maskz_loadu_epi8(mask, row + 2 * i)));
  }
#endif
  if (i >= count) return;
  if (end < first) end = first;
  if (first > 0) __builtin_memset(to, 0, first);
  if (count > end) __builtin_memset(to + end, 0, count - end);
  if (step == 1) return placeBytes(row + first, end - first, to + first);
  if (step == 2 && end - first >= 16) {
    typedef uint8_t bytes16 __attribute__((vector_size(16)));
    typedef uint16_t halves8 __attribute__((vector_size(16)));
    /* Nothing behind the last byte is read: the odd bytes of the second vector are the even ones. */
    const auto place = [&](ptrdiff_t at) {
      const bytes16 a = loadAs<bytes16>(row + 2 * at);
      const bytes16 b = (bytes16)(loadAs<halves8>(row + 2 * at + 15) >> 8);
      storeAs(to + at,
              __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
    };
    for (ptrdiff_t at = first; at + 16 < end; at += 16) place(at);
    return place(end - 16);
  }
  for (i = first; i < end; i++) to[i] = row[i * (ptrdiff_t)step];
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
    const uint8_t* from = plane + inRow * (ptrdiff_t)in.row;
    fillRow(from + col * s.strideWidth + left, s.strideWidth, first, stop, run, to);
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

#if LANES == 8
/* 32 bytes, of which the first `count` are there, zeros behind them; nothing from `end` on is read. */
INLINE __m256i loadBytes(const uint8_t* p, int32_t count, const uint8_t* end) {
  if (count >= 32) return loadAs<__m256i>(p);
  alignas(32) uint8_t some[32] = {};
  if (end - p < 32) {
    __builtin_memcpy(some, p, count);
    return loadAs<__m256i>(some);
  }
  const __m256i places = _mm256_set_epi8(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15,
                                         14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm256_and_si256(loadAs<__m256i>(p), _mm256_cmpgt_epi8(_mm256_set1_epi8((char)count), places));
}
#endif

/*
 * words [count] = byte j of four lines in byte j of each, moved up by INT8_OFFSET; whole steps are written,
 * `tileWords` from one tile of TILE_PIXELS to the next. Lines may be read up to `end`, where their memory
 * does. Returns whether no byte is negative, where that makes a difference.
 */
static bool interleave(const uint8_t* const lines[4], int32_t count, const uint8_t* end, size_t tileWords,
                       uint32_t* words) {
#if LANES == 16
  for (int32_t i = 0; i < count; i += 64, words += tileWords) {
    const uint64_t mask = firstBytes(count - i);
    __m512i bytes[4];
    for (int j = 0; j < 4; j++) {
      __m512i loaded = _mm512_maskz_loadu_epi8(mask, lines[j] + i);
      loaded = _mm512_xor_si512(loaded, _mm512_set1_epi8((char)0x80));
      bytes[j] = _mm512_permutexvar_epi32(wordColumns(), loaded);
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
  return false;
#elif LANES == 8
  __m256i all = {};
  for (int32_t i = 0; i < count; i += 32, words += 2 * tileWords) {
    __m256i bytes[4];
    for (int j = 0; j < 4; j++) {
      bytes[j] = loadBytes(lines[j] + i, count - i, end);
      all = _mm256_or_si256(all, bytes[j]);
      bytes[j] = _mm256_permute4x64_epi64(bytes[j], 0xd8);
      if (INT8_OFFSET) bytes[j] = _mm256_xor_si256(bytes[j], _mm256_set1_epi8((char)INT8_OFFSET));
    }
    const __m256i low01 = _mm256_unpacklo_epi8(bytes[0], bytes[1]);
    const __m256i high01 = _mm256_unpackhi_epi8(bytes[0], bytes[1]);
    const __m256i low23 = _mm256_unpacklo_epi8(bytes[2], bytes[3]);
    const __m256i high23 = _mm256_unpackhi_epi8(bytes[2], bytes[3]);
    const auto store = [&](uint32_t* to, __m256i a, __m256i b) {
      const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
      storeAs(to, _mm256_permute2x128_si256(low, high, 0x20));
      storeAs(to + 8, _mm256_permute2x128_si256(low, high, 0x31));
    };
    store(words, low01, low23);
    store(words + tileWords, high01, high23);
  }
  return _mm256_movemask_epi8(all) == 0;
#else
  typedef uint8_t bytes16 __attribute__((vector_size(16)));
  typedef uint16_t halves8 __attribute__((vector_size(16)));
  static_assert(16 % TILE_PIXELS == 0, "tiles are stored whole");
  bytes16 all = {};
  for (int32_t i = 0; i < count; i += 16, words += 16 / TILE_PIXELS * tileWords) {
    bytes16 bytes[4] = {};
    for (int j = 0; j < 4; j++) {
      if (count - i >= 16 || end - lines[j] - i >= 16) bytes[j] = loadAs<bytes16>(lines[j] + i);
      else for (int32_t k = i; k < count; k++) bytes[j][k - i] = lines[j][k];
      if (HAS_MAGNITUDES) all |= bytes[j];
      bytes[j] ^= (uint8_t)INT8_OFFSET;
    }
    auto low = [](bytes16 a, bytes16 b) {
      return (halves8)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    };
    auto high = [](bytes16 a, bytes16 b) {
      return (halves8)__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                              31);
    };
    auto store = [&](uint32_t* at, halves8 a, halves8 b) {
      storeAs(at, __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11));
      storeAs(at + 4, __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15));
    };
    store(words, low(bytes[0], bytes[1]), low(bytes[2], bytes[3]));
    store(words + 8 / TILE_PIXELS * tileWords, high(bytes[0], bytes[1]), high(bytes[2], bytes[3]));
  }
  typedef uint64_t words2 __attribute__((vector_size(16)));
  return HAS_MAGNITUDES && ((((words2)all)[0] | ((words2)all)[1]) & EACH_BYTE << 7) == 0;
#endif
}

}  // namespace LOWBIT_ISA
