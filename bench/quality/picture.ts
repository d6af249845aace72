import { darkPalette, lightPalette, pagePalette } from '../../src/cli/charts/chart.ts'
import { dots } from '../../src/cli/charts/dots.ts'
import { paletteVariables } from '../../src/cli/charts/page.ts'
import { loadPlotting, type Plotting } from '../../src/cli/charts/plotting.ts'
import { stacked } from '../../src/cli/charts/stacked.ts'
import type { Measured } from './cells.ts'

/** The curves, each with what it is called in the picture. */
const curves = new Map([
  ['rounding', 'rounding'],
  ['hqq, groups of 64', 'hqq'],
  ['gptq', 'gptq'],
  ['gptq, groups in order, scales searched (fast)', 'fast'],
  ['then scales and rounding trained (good)', 'good'],
  ['the same for longer (best)', 'best'],
])

/** Bits a weight against what is lost, of both language models, as an SVG that is light or dark as its reader is. */
export async function qualityPicture(measured: Readonly<Record<string, Measured>>): Promise<string> {
  const plotting = await loadPlotting()
  const { stories260K, shakespeare } = measured
  const title = 'Bits a weight against what is lost'
  const picture = stacked({ name: 'quality', title, caption: '' }, [
    curvesOf(
      plotting,
      'stories260K',
      stories260K,
      `perplexity above float32's ${stories260K.float.toFixed(3)}`,
    ),
    curvesOf(plotting, 'shakespeare-gpt2', shakespeare, 'KL from the float model, nats'),
  ])
  const style = `<style>:root { ${paletteVariables(lightPalette, '#ffffff')} } @media (prefers-color-scheme: dark) { :root { ${paletteVariables(darkPalette, '#0d1117')} } }</style>`
  const ground = '<rect width="100%" height="100%" fill="var(--background)"/>'
  return `${picture.draw(pagePalette).replace('>', `>${style}${ground}`)}\n`
}

function curvesOf(plotting: Plotting, title: string, { figure, float, cells }: Measured, label: string) {
  const known = [...curves].filter(([name]) => cells.some(({ algorithm }) => algorithm === name))
  const rows = known.flatMap(([name, series]) =>
    cells
      .filter(({ algorithm }) => algorithm === name)
      .map(({ bits, bitsPerWeight, value }) => ({
        x: bitsPerWeight,
        y: figure === 'perplexity' ? value - float : value,
        series,
        label: bits === 2 ? series : undefined,
      })),
  )
  return dots(plotting, {
    ...{ name: title, title, caption: '', joined: true, rows, series: [...curves.values()] },
    x: { label: 'bits a weight, scales and zero points counted' },
    y: { label, log: 10 },
  })
}
