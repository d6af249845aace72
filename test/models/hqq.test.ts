import { testItems } from './schemeChecks.ts'

/* HQQ's folders, in which groups of 64 cross the rows of 172 columns. */

testItems('HQQ', [
  'stories260K/hqq-w2-g64',
  'stories260K/hqq-w3-g64',
  'stories260K/hqq-w4-g64',
  'stories260K/hqq-w8-g64',
  'stories260K/hqq-mixed',
])
