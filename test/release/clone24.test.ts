import { testClones } from './clones.ts'

testClones(24)
