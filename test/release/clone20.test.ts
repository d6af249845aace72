import { testClones } from './clones.ts'

testClones(20)
