// Quantizes the embedded model and shows what was lost, then runs whatever GGUF file is dropped: the same
// calls as in Node.
import { startComparing } from './compare.ts'
import { startChatting } from './own.ts'

startChatting()
startComparing()
