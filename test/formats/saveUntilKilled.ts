import { saveFolder } from '../../src/formats/atomicFolder.node.ts'
import { writeText } from '../../src/formats/source.ts'

/**
 * Saves into argv[2], says so on stdout once half is written, and never finishes; argv[3] `handles` makes it
 * survive SIGINT.
 */
if (process.argv[3] === 'handles') process.on('SIGINT', () => console.log('heard'))

const idle = setInterval(() => {}, 1000)
try {
  await saveFolder(
    process.argv[2],
    async (folder) => {
      await writeText(folder, 'model.safetensors', 'half')
      console.log('writing')
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 5))
        const sink = await folder.create(`${performance.now()}.bin`)
        await sink.write(new Uint8Array(1000))
        await sink.close()
      }
    },
    { overwrite: () => true },
  )
} catch (error) {
  console.log(String(error))
} finally {
  clearInterval(idle)
}
