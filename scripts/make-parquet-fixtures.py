"""Writes test/golden/parquet by pyarrow: questions of test/golden/tasks.json, and the paragraphs of models/tinystories.txt, in the
compressions that the hub's files have."""
import json
from pathlib import Path

import pyarrow
from pyarrow import parquet

root = Path(__file__).parent.parent
out = root / 'test/golden/parquet'
out.mkdir(exist_ok=True)
tasks = json.loads((root / 'test/golden/tasks.json').read_text())
paragraphs = [{'text': text} for text in (root / 'models/tinystories.txt').read_text().split('\n\n')]
for name, items, compression in [('arc', tasks['arc']['items'], 'zstd'), ('piqa', tasks['piqa']['items'], 'snappy'), ('text', paragraphs, 'gzip')]:
    parquet.write_table(pyarrow.Table.from_pylist(items), out / f'{name}-{compression}.parquet', compression=compression)
