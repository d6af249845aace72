"""What Python's gguf package makes of files: reads those of lowbit, and writes its own of the same content."""

import json
import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize
from safetensors.numpy import save_file


def read(job):
    """Floats of every tensor of a file."""
    reader = GGUFReader(job["file"])
    floats = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        floats[tensor.name] = np.ascontiguousarray(values, dtype=np.float32)
    save_file(floats, job["out"])


def copy(job):
    """Reads a file and writes it again with GGUFWriter: keys, types and tensors in its order."""
    reader = GGUFReader(job["file"])
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = GGUFWriter(job["out"], fields["general.architecture"].contents())
    for name, field in fields.items():
        if name == "general.architecture":
            continue
        first, *rest = field.types
        writer.add_key_value(name, field.contents(), first, sub_type=rest[-1] if rest else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


for job in json.load(open(sys.argv[1])):
    {"read": read, "copy": copy}[job["task"]](job)
