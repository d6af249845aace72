import { testItems } from './schemeChecks.ts'

/* MLX's folders: of its formula, and of mlx itself. */

testItems('MLX', [
  'stories260K/mlx-w4-g64',
  'stories260K/mlx-w8-g32',
  'stories260K/mlx-mixed',
  'stories260K/mlx-mxfp4',
])
