import { testItems } from './schemeChecks.ts'

/* torchao's folders, as transformers saved them. */

testItems('torchao', [
  'stories260K/torchao-int8wo',
  'stories260K/torchao-int8dyn',
  'stories260K/torchao-int4-g32',
  'stories260K/torchao-float8wo',
  'stories260K/torchao-int8wo-bf16',
  'stories260K/torchao-8da4w',
  'stories260K/torchao-mixed',
])
