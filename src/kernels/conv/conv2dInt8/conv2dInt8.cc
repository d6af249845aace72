#include "../../quantize/clampInt8/bounds.h"
#include "groups.h"
#include "phases.h"
#include "singles.h"
#include "staged.h"

namespace LOWBIT_ISA {

/*
 * Words of a panel, positions of a block, and output channels of a task: a thread of WebAssembly has little
 * room.
 */
#ifdef __wasm__
constexpr int32_t PANEL_WORDS = 1 << 14, BLOCK_POSITIONS = 1 << 11, TASK_CHANNELS = 128;
#else
constexpr int32_t PANEL_WORDS = 1 << 15, BLOCK_POSITIONS = 1 << 12, TASK_CHANNELS = 512;
#endif
/*
 * Bytes of a line; all phases of a single channel have four times as many (layout.ts, `windowsFit`), by
 * windows those of each of two channels twice as many. Taps of a panel.
 */
constexpr int32_t LINE_BYTES = 1 << 14, STAGED_BYTES = TILE_CHANNELS * 4 * BLOCK_POSITIONS;
constexpr int32_t SCRATCH_LINES = 4 * (LINE_BYTES + 2 * LINE_STEP), MAX_STEPS = 1 << 12;
/* Where pixels are sorted by their signs: tiles of a block, steps of all tiles of a panel. */
constexpr int32_t SIGNED_TILES = HAS_MAGNITUDES ? (BLOCK_POSITIONS + LINE_STEP) / TILE_PIXELS : 1;
constexpr int32_t SIGNED_STEPS = HAS_MAGNITUDES ? MAX_STEPS : 1;
static_assert(PANEL_WORDS / LINE_STEP <= MAX_QUADS, "a quad has at least so many words");
static_assert(!HAS_MAGNITUDES || PANEL_WORDS / TILE_PIXELS <= SIGNED_STEPS, "each tile has its own steps");

/* One per thread, in the memory of `Blocks`. */
struct ConvScratch {
  alignas(64) uint32_t panel[PANEL_WORDS + 2 * LINE_STEP];
  alignas(64) uint8_t lines[SCRATCH_LINES];
  alignas(64) int32_t sums[TASK_CHANNELS * LINE_STEP];
  Channel channels[TASK_CHANNELS];
  Step steps[MAX_STEPS];
  /* See `SignedTiles`. */
  alignas(64) int32_t corrections[SIGNED_TILES * TILE_PIXELS];
  SignedTile order[SIGNED_TILES];
  Step sorted[SIGNED_STEPS];
  /* By which each quad of the panel is lowered: see groups.h. */
  uint32_t leastPixels[HAS_MAGNITUDES ? MAX_QUADS : 1];
  alignas(64) uint32_t offsetWeights[SIGNED_STEPS * TILE_CHANNELS];
  /* Of each byte of a word of a quad, or of a plane by rows. */
  ByteLine byteLines[4 * PANEL_WORDS / LINE_STEP];
  alignas(64) uint8_t staged[STAGED_BYTES + LINE_STEP];
};

static_assert(sizeof(ConvScratch) <= sizeof(Blocks), "it lies where products of floats have theirs");
#if LANES == 8
static_assert(sizeof(SinglesScratch) <= sizeof(Blocks), "it lies there, too");
#endif

/* How a task is cut: positions of a block, words of a plane of its panel, quads of a panel. */
struct Cut {
  int32_t positions, planeWords, planes, quads;
  /* By windows, all that a tile meets lies together; else a plane is a line. */
  bool byTiles;

  Cut(const Conv& c, int32_t wanted) {
    const Line& l = c.line;
    const int32_t phases = l.rowPhases * l.colPhases;
    const int32_t reach = c.byWindows ? 0 : roundUp(c.byRows ? l.colReach : l.reach, LINE_STEP);
    planes = c.byWindows ? 1 : c.byRows ? l.colPhases : phases;
    const int32_t inPanel = PANEL_WORDS / (planes * c.quads) - reach;
    const int32_t inPhases = (c.byRows ? 4 : 2) * LINE_BYTES / phases;
    const int32_t inLines = (c.keepsPhases() ? inPhases : LINE_BYTES) - l.reach - 3 * LINE_STEP;
    positions = (inPanel < inLines ? inPanel : inLines) / LINE_STEP * LINE_STEP;
    const int32_t staged = STAGED_BYTES / (TILE_CHANNELS * stagedBytesOf(c)) / LINE_STEP * LINE_STEP;
    if (positions > staged) positions = staged;
    if (positions > BLOCK_POSITIONS) positions = BLOCK_POSITIONS;
    if (positions > roundUp(wanted, LINE_STEP)) positions = roundUp(wanted, LINE_STEP);
    if (positions < LINE_STEP) positions = LINE_STEP;
    planeWords = positions + reach;
    byTiles = c.byWindows;
    const int32_t taps = c.wordsPerRow / c.quads;
    quads = PANEL_WORDS / (planes * planeWords);
    if (quads > MAX_STEPS / taps) quads = MAX_STEPS / taps;
    if (quads > c.quads) quads = c.quads;
  }

  /* From one tile of the panel of so many quads to the next. */
  size_t tileWords(int32_t quads) const { return byTiles ? (size_t)quads * TILE_PIXELS : TILE_PIXELS; }
};

/* The panel of a single channel, whose bytes are rows of the kernel; returns what `fillPanel` does. */
static bool interleaveRows(const Conv& c, const Cut& cut, int32_t count, const uint8_t* phases,
                           const ByteLine* byteLines, uint32_t* panel) {
  const int32_t reach = count + c.line.colReach;
  bool codes = true;
  for (int32_t plane = 0; plane < cut.planes * c.quads; plane++, panel += cut.planeWords) {
    const uint8_t* lines[4];
    for (int32_t j = 0; j < 4; j++, byteLines++)
      lines[j] = phases + byteLines->phase * phaseBytes(c.line, count) + byteLines->at;
    codes &= interleave(lines, reach, phases + SCRATCH_LINES, TILE_PIXELS, panel);
  }
  return codes;
}

/*
 * The panel of quads q … q + quads − 1 of a group at `count` positions from `first` on. Returns whether no
 * pixel is negative, where that makes a difference.
 */
static bool fillPanel(const Conv& c, const Cut& cut, int32_t sample, int32_t group, int32_t q, int32_t quads,
                      int32_t first, int32_t count, ConvScratch& scratch) {
  if (c.keepsPhases())
    return fillWindows(c, sample, group * c.inGroup, q, quads, first, count, scratch.lines, SCRATCH_LINES / 2,
                       scratch.byteLines, scratch.panel);
  const Line& l = c.line;
  const uint8_t* planes = c.x + sample * c.in.sample + (size_t)group * c.inGroup * c.in.plane;
  const uint8_t *lines[4], *scratchEnd = scratch.lines + SCRATCH_LINES;
  bool codes = true;
  const int32_t phases = l.rowPhases * l.colPhases, length = count + l.reach, col = first % l.width;
  const bool direct = c.s.kernelHeight * c.s.kernelWidth * c.s.strideWidth * c.s.strideHeight == 1 &&
                      c.s.paddingHeight + c.s.paddingWidth == 0 && col + count <= l.width;
  for (int32_t i = 0; i < quads * phases; i++) {
    for (int32_t j = 0; j < 4; j++) {
      const int32_t channel = 4 * (q + i / phases) + j;
      if (channel >= c.inGroup) {
        lines[j] = lines[0];
        continue;
      }
      const uint8_t* plane = planes + channel * c.in.plane;
      uint8_t* line = scratch.lines + j * (LINE_BYTES + 2 * LINE_STEP);
      lines[j] = direct ? plane + first / l.width * c.in.row + col : line;
      if (!direct)
        fillLine(plane, c.in, c.s, l, i % phases / l.colPhases, i % l.colPhases, first, length, line);
    }
    uint32_t* words = scratch.panel + i * (cut.byTiles ? TILE_PIXELS : cut.planeWords);
    codes &= interleave(lines, length, direct ? c.xEnd : scratchEnd, cut.tileWords(quads), words);
  }
  return codes;
}

/* What the quads of a panel meet; returns how many steps. */
static int32_t listSteps(const Conv& c, const Cut& cut, int32_t q, int32_t quads, Step* steps,
                         ByteLine* bytes) {
  const Line& l = c.line;
  const ConvSizes& s = c.s;
  if (c.byRows) listRows(c, quads, bytes);
  else if (c.keepsPhases()) listTaps(c, q, quads, bytes);
  int32_t count = 0;
  for (; c.byWindows && count < quads; count++) steps[count] = {count * TILE_PIXELS, (q + count) * 16};
  for (int32_t quad = 0; !c.byWindows && quad < quads; quad++) {
    for (int32_t i = 0; i < (c.byRows ? 1 : s.kernelHeight); i++) {
      for (int32_t j = 0; j < s.kernelWidth; j++) {
        const int32_t down = i * s.dilationHeight, across = j * s.dilationWidth;
        const int32_t rowPlane = quad * (cut.planes / l.colPhases) + down % s.strideHeight;
        const int32_t plane = rowPlane * l.colPhases + across % s.strideWidth;
        const int32_t place = plane * cut.planeWords + down / s.strideHeight * l.width;
        steps[count++] = {place + across / s.strideWidth,
                          ((i * s.kernelWidth + j) * c.quads + q + quad) * 16};
      }
    }
  }
  return count;
}

/* Prepares a panel of so many quads at `count` positions, as groups.h describes. */
OUTLINE void groupPanel(const Conv& c, const Cut& cut, int32_t quads, int32_t count, Ready& ready,
                       ConvScratch& scratch) {
  /* Of codes, sums of what lies behind the last pixel of a tile have to fit, too, though none is used. */
  if (ready.codes) count = roundUp(count, TILE_PIXELS);
  const int32_t tiles = ceilDivide(count, TILE_PIXELS), length = count + c.line.reach;
  const PanelParts byTiles = {scratch.panel, TILE_PIXELS, cut.tileWords(quads), tiles, TILE_PIXELS,
                              count - (tiles - 1) * TILE_PIXELS};
  const PanelParts byPlanes = {scratch.panel, (size_t)cut.planes * cut.planeWords, (size_t)cut.planeWords,
                               cut.planes, length, length};
  const PanelParts& panel = cut.byTiles ? byTiles : byPlanes;
  ready.lowered = !ready.codes && lowerPanel(panel, scratch.steps, ready.steps, quads, scratch.leastPixels,
                                             scratch.sorted, ready.groups);
  if (ready.codes) ready.groups = {0, pairSteps(panel, scratch.steps, ready.steps, quads, scratch.sorted)};
  ready.codes |= ready.lowered;
}

/* `rows` channels of a group, from `channel` on, at the positions from `first` to before `end`. */
static void convolve(const Conv& c, const Cut& cut, int32_t sample, int32_t group, int32_t channel,
                     int32_t rows, int32_t first, int32_t end, Channel* channels, Ready& ready,
                     ConvScratch& scratch) {
  /* A channel alone meets a lowered panel as others do. */
  const bool grouped = HAS_MAGNITUDES && c.outGroup > 1 && !c.byRows;
  const int32_t step = rows == 1 && !grouped ? 1 : TILE_CHANNELS;
  const Outputs outputs = c.to.at(sample * c.out.sample + channel * c.out.plane);
  const Outputs staged = stagedOutputs(c, scratch.staged, TILE_CHANNELS * cut.positions);
  for (int32_t at = first; at < end; at += cut.positions) {
    const int32_t count = end - at < cut.positions ? end - at : cut.positions, row = at / c.line.width;
    const bool whole = c.line.width == c.s.outWidth && (at + count - 1) / c.line.width == row;
    for (int32_t q = 0; q < c.quads; q += cut.quads) {
      const bool last = q + cut.quads >= c.quads;
      const int32_t quads = last ? c.quads - q : cut.quads;
      if (ready.steps == 0 || cut.quads < c.quads)
        ready.steps = listSteps(c, cut, q, quads, scratch.steps, scratch.byteLines);
      if (c.byRows) {
        fillPhases(c, sample, group, at, count, scratch.lines);
        ready.codes = interleaveRows(c, cut, count, scratch.lines, scratch.byteLines, scratch.panel);
      } else if (!ready.filled) {
        ready.codes = fillPanel(c, cut, sample, group, q, quads, at, count, scratch);
      }
      const size_t tileWords = cut.tileWords(quads);
      const int32_t steps = ready.steps;
      /* Parts of the panel: another task may find it there that multiplies more channels than this one. */
      if (grouped && !ready.filled) groupPanel(c, cut, quads, count, ready, scratch);
      if (HAS_MAGNITUDES && c.outGroup > 1 && !ready.codes && !ready.filled)
        sortSteps(scratch.steps, steps, scratch.panel, tileWords, cut.byTiles, count, scratch.sorted,
                  scratch.order, scratch.corrections);
      const bool sorted = grouped && ready.codes;
      if (ready.lowered)
        startChannels(c, scratch.steps, steps, quads, scratch.leastPixels, channel, rows, channels);
      SignedTiles negative = {};
      if (HAS_MAGNITUDES && step > 1 && !ready.codes)
        negative = {scratch.order, scratch.sorted, cut.byTiles ? (size_t)steps : 0, scratch.corrections,
                    scratch.offsetWeights};
      for (int32_t m = 0; m < rows; m += step) {
        const Outputs to = outputs.at(m * c.out.plane);
        const Outputs place = whole ? to.at(row * c.out.row + at - row * c.line.width) : staged;
        const int32_t some = rows - m < step ? rows - m : step;
        /* Of several panels, sums of all channels wait for the next. */
        const bool alone = q == 0 && last;
        int32_t* sums = scratch.sums + (alone ? 0 : m * TILE_PIXELS);
        const size_t sumStride = (size_t)(alone ? step : roundUp(rows, step)) * TILE_PIXELS;
        const size_t stride = whole ? c.out.plane : (size_t)cut.positions;
        const int32_t placed = last && !whole ? some : 0;
        const TileRow tiles = {sorted ? scratch.sorted : scratch.steps, steps,
                               sorted ? ready.groups : StepGroups{}, ready.lowered, scratch.panel, tileWords,
                               negative, channels + m, some, q == 0, last, sums, sumStride, c.range, place,
                               stride};
        if (negative.order)
          offsetWeights(scratch.steps, steps, channels + m, some, scratch.offsetWeights);
        for (int32_t r = 0; r < placed; r++)
          stageAddend(c, to.at(r * c.out.plane), at, count, staged.at(r * stride));
        if (step == 1) multiplyRow<1>(tiles, count);
        else multiplyRow<TILE_CHANNELS>(tiles, count);
        for (int32_t r = 0; r < placed; r++)
          placeStaged(c, staged.at(r * stride), at, count, to.at(r * c.out.plane));
      }
    }
  }
}

/*
 * So many channels, each of which sees itself only, at the positions from `first` to before `end`. Several go
 * through each stage before the next begins: one alone would wait for what it has just written.
 */
static void convolveSingles(const Conv& c, const Cut& cut, int32_t sample, int32_t channel, int32_t channels,
                            int32_t first, int32_t end, const Channel* described, ConvScratch& scratch) {
  const int32_t panelWords = cut.planes * c.quads * cut.planeWords;
  const int32_t steps = listSteps(c, cut, 0, c.quads, scratch.steps, scratch.byteLines);
  for (int32_t at = first; at < end; at += cut.positions) {
    const int32_t count = end - at < cut.positions ? end - at : cut.positions;
    const int32_t lineBytes = c.line.rowPhases * c.line.colPhases * phaseBytes(c.line, count);
    const int32_t stagedBytes = count * stagedBytesOf(c);
    int32_t together = PANEL_WORDS / panelWords;
    if (together > 4 * LINE_BYTES / lineBytes) together = 4 * LINE_BYTES / lineBytes;
    if (together > STAGED_BYTES / stagedBytes) together = STAGED_BYTES / stagedBytes;
    if (together > 16) together = 16;
    if (together < 1) together = 1;
    for (int32_t i = 0; i < channels; i += together) {
      const int32_t some = channels - i < together ? channels - i : together;
      for (int32_t j = 0; j < some; j++)
        fillPhases(c, sample, channel + i + j, at, count, scratch.lines + j * lineBytes);
      for (int32_t j = 0; j < some; j++)
        interleaveRows(c, cut, count, scratch.lines + j * lineBytes, scratch.byteLines,
                       scratch.panel + j * panelWords);
      const Outputs staged = stagedOutputs(c, scratch.staged, some * count);
      const Outputs to = c.to.at(sample * c.out.sample + (channel + i) * c.out.plane);
      for (int32_t j = 0; j < some; j++)
        stageAddend(c, to.at(j * c.out.plane), at, count, staged.at(j * count));
      for (int32_t j = 0; j < some; j++)
        multiplyRow<1>({scratch.steps, steps, {}, false, scratch.panel + j * panelWords, TILE_PIXELS, {},
                        described + i + j, 1, true, true, scratch.sums, TILE_PIXELS, c.range,
                        staged.at(j * count), 0},
                       count);
      for (int32_t j = 0; j < some; j++)
        placeStaged(c, staged.at(j * count), at, count, to.at(j * c.out.plane));
    }
  }
}

/*
 * For each group y [outGroup, positions] = w [outGroup, quads] · panel [quads, positions] in integers; panels
 * are gathered from the image block by block. A task has several groups, or a part of one: of its positions,
 * or of its channels.
 */
void conv2dInt8(const uint8_t* x, const float* xScale, const uint8_t* w, const float* wScale,
                const float* bias, const float* addend, float low, float high, float* y,
                const float* codeScale, uint8_t* codes, int32_t batch, int32_t inChannels, int32_t inHeight,
                int32_t inWidth, int32_t outChannels, int32_t outHeight, int32_t outWidth,
                int32_t kernelHeight, int32_t kernelWidth, int32_t strideHeight, int32_t strideWidth,
                int32_t paddingHeight, int32_t paddingWidth, int32_t dilationHeight, int32_t dilationWidth,
                int32_t groups) {
  const size_t inPlane = (size_t)inHeight * inWidth, outPlane = (size_t)outHeight * outWidth;
  Layout in = {inChannels * inPlane, inPlane, (size_t)inWidth, inHeight, inWidth};
  Layout out = {outChannels * outPlane, outPlane, (size_t)outWidth, outHeight, outWidth};
  ConvSizes s = {batch, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth, kernelHeight,
                 kernelWidth, strideHeight, strideWidth, paddingHeight, paddingWidth, dilationHeight,
                 dilationWidth, groups};
  const bool singlePixels =
      kernelHeight * kernelWidth * strideHeight * strideWidth == 1 && paddingHeight + paddingWidth == 0;
  if (singlePixels) {
    /* Of small images, all as one line, a row for each; of larger ones, a row is the line. */
    const int32_t rows = inPlane < 1024 ? batch : 1;
    in = {in.sample, inPlane, rows > 1 ? in.sample : inPlane, rows, (int32_t)inPlane};
    out = {out.sample, outPlane, rows > 1 ? out.sample : outPlane, rows, (int32_t)outPlane};
    s.batch = batch / rows, s.outHeight = rows, s.outWidth = (int32_t)outPlane;
  }
  const float inverse = codes ? reciprocal(*codeScale) : 1;
  const Range range = {low, high, inverse, codeBound(low, inverse), codeBound(high, inverse),
                       codes && !y && !addend};
  const uint8_t* xEnd = x + batch * inChannels * inPlane;
  Conv c = {s, in, out, Line(s), x, xEnd, w, xScale, wScale, bias, range, {y, codes, addend}};
  c.inGroup = inChannels / groups, c.outGroup = outChannels / groups;
  const int32_t taps = kernelHeight * kernelWidth;
  c.byRows = c.inGroup == 1, c.byWindows = keepsOrder(c.inGroup, taps);
  c.quads = ceilDivide(c.byRows ? kernelHeight : c.byWindows ? c.inGroup * taps : c.inGroup, 4);
  c.wordsPerRow = c.quads * (c.byRows ? kernelWidth : c.byWindows ? 1 : taps);
  if (LANES == 8 && c.range.codesAlone) c.range.codesAlone = fitIntegers(c);
  const int32_t wholes = s.batch * groups, tiles = ceilDivide(c.line.count, TILE_PIXELS);
  /*
   * Some five microseconds are worth a task: in clock cycles of a register of 64 bytes, products and what
   * follows for each output; a depthwise convolution moves more bytes than it multiplies. As many tasks for
   * each thread.
   */
  const double outputs = (double)wholes * c.line.count * c.outGroup;
  const double cycles = outputs * (c.wordsPerRow / 16.0 + (c.byRows ? 1.5 : 0.3));
  const int32_t threads = threadCount();
  const int32_t most = cycles < 80000.0 * threads ? (int32_t)(cycles / 20000) : 4 * threads;
  const int32_t wanted = threads == 1 || most < 2 ? 1 : roundUp(most, threads);
#if LANES == 8
  if (c.byRows && !singlePixels && c.range.codesAlone && readsRows(s)) return convolveRows(c, wanted);
#endif
  const int32_t parts = ceilDivide(wanted, wholes);
  const int32_t partTiles = parts > 1 && tiles >= 4 * parts ? evenPart(tiles, parts, threads) : tiles;
  const int32_t positionParts = ceilDivide(tiles, partTiles);
  int32_t rows = roundUp(ceilDivide(c.outGroup, positionParts > 1 ? 1 : parts), TILE_CHANNELS);
  if (rows > TASK_CHANNELS) rows = TASK_CHANNELS;
  const int32_t rowParts = ceilDivide(c.outGroup, rows);
  int32_t together = wholes > wanted ? ceilDivide(wholes, wanted) : 1;
  if (rowParts > 1) together = 1;
  static uint64_t calls = 0;
  const uint64_t call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
  parallelFor(ceilDivide(wholes, together) * positionParts * rowParts, [&](int32_t task) {
    ConvScratch& scratch = (ConvScratch&)scratchHere<Blocks>();
    const int32_t part = task % (positionParts * rowParts), m = part % rowParts * rows;
    const int32_t first = part / rowParts * partTiles * TILE_PIXELS;
    const int32_t partEnd = first + partTiles * TILE_PIXELS;
    const int32_t end = partEnd < c.line.count ? partEnd : c.line.count;
    const int32_t from = task / (positionParts * rowParts) * together;
    const int32_t stop = from + together < wholes ? from + together : wholes;
    const Cut cut(c, end - first);
    /* A task with other channels of the same positions finds the panel as the one before left it. */
    static thread_local Ready last;
    const int32_t block = task / rowParts;
    const bool kept = rowParts > 1 && !c.byRows && end - first <= cut.positions && cut.quads >= c.quads;
    Ready ready = {call, block, 0, {}, false, false, false};
    if (kept && last.call == call && last.block == block) ready = last;
    const bool singles = c.byRows && c.outGroup == 1;
    for (int32_t i = from; i < stop;) {
      /* As many groups of a sample as there is room for. */
      const int32_t group = i % groups, channel = group * c.outGroup + m;
      int32_t ahead = rowParts > 1 ? 1 : TASK_CHANNELS / c.outGroup;
      if (ahead > stop - i) ahead = stop - i;
      if (ahead > groups - group) ahead = groups - group;
      const int32_t count = c.outGroup - m < rows ? c.outGroup - m : rows;
      describeChannels(c, channel, (ahead - 1) * c.outGroup + count, scratch.channels);
      if (singles) convolveSingles(c, cut, i / groups, channel, ahead, first, end, scratch.channels, scratch);
      for (int32_t j = 0; j < ahead && !singles; j++)
        convolve(c, cut, i / groups, group + j, channel + j * c.outGroup, count, first, end,
                 scratch.channels + j * c.outGroup, ready, scratch);
      i += ahead;
    }
    ready.filled = kept;
    last = ready;
  });
}

}  // namespace LOWBIT_ISA
