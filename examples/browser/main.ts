// Quantizes the embedded model and shows what was lost, quantizes it by a text, then runs whatever GGUF file is
// dropped: the same calls as in Node.
import { startCalibrating } from './calibrated.ts'
import { startComparing } from './compare.ts'
import { startChatting } from './own.ts'

startChatting()
startComparing()
startCalibrating()
