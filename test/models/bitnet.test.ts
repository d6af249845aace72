import { testItems } from './schemeChecks.ts'

/*
 * BitNet's folders, as transformers packs them, and computes with them: what layers take is rounded to int8.
 */

testItems('BitNet', ['stories260K/bitnet-packed', 'stories260K/bitnet-auto', 'stories260K/bitnet-online'])
