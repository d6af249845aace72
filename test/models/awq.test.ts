import { testItems } from './schemeChecks.ts'

/* AWQ of stories260K: as AutoAWQ saved it, and as its packers and llm-awq's laid the same codes out. */
testItems('AWQ', ['stories260K/awq-gemm-g32-attn'])
