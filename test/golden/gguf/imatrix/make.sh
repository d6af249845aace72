#!/bin/sh
# make.sh LLAMA_BIN TEXT: writes imatrix.gguf, imatrix.dat and llama-quantize.json beside it, by llama.cpp's own tools in the
# folder LLAMA_BIN, from the first 20,000 bytes of TEXT (tinyshakespeare.txt). Needs Python with gguf. Run it in the repository.
set -e
here=test/golden/gguf/imatrix
work=$(mktemp -d)
head -c 20000 "$2" > "$work/text"
npx lowbit convert test/golden/shakespeare-gpt2-1M/float --to gguf:f32 --out "$work/float.gguf"
for kind in gguf dat; do
  "$1/llama-imatrix" -m "$work/float.gguf" -f "$work/text" -o $here/imatrix.$kind --output-format $kind -c 128 --chunks 12
done
quantize() {
  "$1/llama-quantize" --imatrix $here/imatrix.$3 "$work/float.gguf" "$work/$2.$3.gguf" $2
}
quantize "$1" Q4_K_M gguf
quantize "$1" Q4_K_M dat
quantize "$1" Q4_0 gguf
python3 - "$work" > $here/llama-quantize.json <<'PY'
# Of each quantized tensor of the blocks its type and the beginning of its bytes' SHA-256.
import hashlib, json, sys
from gguf import GGUFReader
files = {}
for type, kind in (('Q4_0', 'gguf'), ('Q4_K_M', 'gguf'), ('Q4_K_M', 'dat')):
    tensors = GGUFReader(f'{sys.argv[1]}/{type}.{kind}.gguf').tensors
    files[f'{type.lower()} {kind}'] = {
        t.name: [t.tensor_type.name, hashlib.sha256(t.data.tobytes()).hexdigest()[:16]]
        for t in tensors if t.name.startswith('blk.') and t.tensor_type.name != 'F32'
    }
print(json.dumps(files))
PY
rm -r "$work"
