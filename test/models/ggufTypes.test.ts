import { testItems } from './schemeChecks.ts'

/*
 * GGUF files of two models, as the gguf package and ggml wrote them, and as PyTorch computed with their
 * weights.
 */

testItems('GGUF', [
  ...['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0'].map((type) => `stories260K/gguf-${type}`),
  ...['q2_k', 'q4_k', 'q5_k', 'q6_k'].map((type) => `shakespeare-gpt2-1M/gguf-${type}`),
])
