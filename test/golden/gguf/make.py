"""python make.py GOLDEN SMOLLM2.gguf: writes the fixtures beside it.

GOLDEN is the large golden set. What is made here: blocks.json (bytes of ggml and what they stand for), stories260K-*.gguf and
stories260K.json (figures of the dequantized models, PyTorch), bytelevel.gguf with tokens.json (token ids by the library
`tokenizers`, of SmolLM2 also by its own rule, each digit alone), smollm2.json and smollm2-logits.bin (figures, transformers).
"""
import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

golden, smollm = Path(sys.argv[1]), Path(sys.argv[2])
here = Path(__file__).parent
manifest = json.loads((golden / 'manifest.json').read_text())
items = {item['id']: item for item in manifest['items']}


def write(name, value):
    (here / name).write_text(json.dumps(value, ensure_ascii=True) + '\n')


# Blocks: the first 2 blocks of rows that are plain, times 10, zero, constant, positive, half zero.
ggml = load_file(golden / 'single_tensor_ggml/ggml.safetensors')
rows, cols = [0, 2, 3, 4, 5, 6, 11], 64
blocks = {'rows': len(rows), 'cols': cols, 'types': {}}
for name, block_bytes in {'Q4_0': 18, 'Q4_1': 20, 'Q5_0': 22, 'Q5_1': 24, 'Q8_0': 34}.items():
    data = ggml[f'{name}.bytes'][rows, : cols // 32 * block_bytes]
    values = ggml[f'{name}.dequant'][rows, :cols].astype('<f4')
    blocks['types'][name] = {'bytes': data.tobytes().hex(), 'float32': values.tobytes().hex()}
write('blocks.json', blocks)

# stories260K: two files, the figures of all five.
keys = ['perplexity', 'nll', 'greedy_ids', 'greedy_margins']
stories = {}
for kind in ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0']:
    item = items[f'stories260K/gguf-{kind}']
    tensors = load_file(golden / item['expected_tensors'])
    stories[kind] = {key: item['expected'][key] for key in keys}
    stories[kind]['weight_stats'] = item['weight_stats']
    stories[kind]['last_logits'] = tensors['prompt_logits'][-1].tolist()
    k_proj = tensors['dequant.model.layers.4.self_attn.k_proj.weight']
    stories[kind]['k_proj_rows'] = k_proj.astype('<f4').tobytes().hex()
    if kind in ('q4_0', 'q5_1', 'q8_0'):
        name = f'stories260K-{kind}.gguf'
        (here / name).write_bytes((golden / f'stories260K/gguf-{kind}' / name).read_bytes())
write('stories260K.json', stories)

# SmolLM2: logits of the prompt's last token, greedy tokens, the first windows.
item = items['smollm2-135m-gguf/float']
inputs = json.loads((golden / 'smollm2-135m-gguf/inputs.json').read_text())
logits = load_file(golden / item['expected_tensors'])['prompt_logits'].reshape(-1, 49152)[-1].astype('<f4')
(here / 'smollm2-logits.bin').write_bytes(logits.tobytes())
chat = [
    {'role': 'user', 'content': 'What is the capital of France?'},
    {'role': 'assistant', 'content': 'Paris.'},
    {'role': 'user', 'content': '  And of Norway?\n'},
]
theirs = AutoTokenizer.from_pretrained(smollm.parent, gguf_file=smollm.name)
write('smollm2.json', {
    'prompt_ids': inputs['prompt_ids'],
    'window_ids': inputs['ppl_ids'][:1024],
    'window_nll': item['expected']['window_nll'][:2],
    'greedy_ids': item['expected']['greedy_ids'],
    'greedy_margins': item['expected']['greedy_margins'],
    'chat': chat,
    'chat_text': theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True),
})

# Text of many kinds.
draw = random.Random(7)
words = 'the sea is wide and its waves are old; we sailed before dawn, they said, and nobody knew why'.split()
lines = [
    'Hello, world!', 'I\'m sure they\'ve said we\'ll go; he\'d know it\'s John\'s. I\'M SURE THEY\'VE',
    'def f(x: int) -> str:\n    return f"{x:>10}"\n', 'for (let i = 0; i < 100; i++) {\n\tsum += a[i] * b[i]\n}',
    '#include <stdio.h>\nint main(void) { return 0; }', 'SELECT * FROM t WHERE id >= 1000 AND name LIKE \'%x%\';',
    '{"key": [1, 2.5e-3, null, true], "text": "a\\nb"}', 'https://example.org/a/b?c=d&e=f#g', '../path/to/file.tar.gz',
    '3.14159 2,718,281 1999-12-31 23:59:59 0xDEADBEEF 1e10', '    12  345   6789', '1 22 333 4444 55555', '\u0661\u0662\u0663 \u00bd x\u00b2 \u2167 \u4e09',
    'na\u00efve caf\u00e9 \u00fcber stra\u00dfe \u00c5ngstr\u00f6m', '\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!', '\u4f60\u597d\uff0c\u4e16\u754c\u3002', '\u3053\u3093\u306b\u3061\u306f\u4e16\u754c',
    '\uc548\ub155\ud558\uc138\uc694', '\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645', '\u05e9\u05dc\u05d5\u05dd', '\u0928\u092e\u0938\u094d\u0924\u0947', '\U0001f600\U0001f680 \U0001f469\u200d\U0001f4bb \u2764\ufe0f',
    'e\u0301 vs \u00e9', '\u200bzero\u200bwidth', 'tabs\t\tand\tspaces   ', '   leading', 'trailing   ', '\n\n\nnewlines\n\n', ' \n \t \n', '\r\nwindows\r\n',
    '\u00a0no-break\u00a0space\u3000wide', '!!!???...---___***', '<|im_start|>user\nhi<|im_end|>', '<|endoftext|>', '<s>text</s>', '<unk>', 'A', ' ', '\t', '\n', 'aaaaaaaaaaaaaaaaaaaaaaaa',
    'supercalifragilisticexpialidocious', 'CamelCaseAndSCREAMING_SNAKE_case', '\x00\x01\x7f', '\ufffd', '\ud7ff\ue000\uffff', '\U0010ffff',
]
while len(lines) < 300:
    parts = []
    for _ in range(draw.randint(1, 9)):
        parts.append(draw.choice([
            draw.choice(words), draw.choice(words).capitalize(), str(draw.randint(0, 10 ** draw.randint(1, 7))), ' ' * draw.randint(1, 6), draw.choice('.,;:!?()[]{}<>=+-*/\\|@#$%^&~`"\''),
            chr(draw.choice([draw.randint(0xa1, 0x24f), draw.randint(0x370, 0x5ff), draw.randint(0x4e00, 0x4fff), draw.randint(0x1f300, 0x1f5ff)])),
            draw.choice(['\n', '\t', '\r\n', "'s", "'LL", "it's", '\n\n  ']),
        ]))
    lines.append(draw.choice(['', ' ']).join(parts))

gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
unsplit = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
rules = {
    'gpt-2': gpt2,
    'smollm': pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]),
    'llama-bpe': pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cl100k % '{1,3}'), 'isolated'), unsplit]),
    'qwen2': pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cl100k % ''), 'isolated'), unsplit]),
}


def ids(tokenizer, texts):
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


# A small byte-level vocabulary with merges within numbers, so that each rule gives ids of its own.
trained = Tokenizer(models.BPE())
trained.pre_tokenizer = pre_tokenizers.Split(Regex(r'\n'), 'isolated')
trained.pre_tokenizer = pre_tokenizers.Sequence([trained.pre_tokenizer, unsplit])
corpus = lines + [f'{year} {year % 100}' for year in range(1900, 2030)] * 3
trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=['<|end|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
trained.train_from_iterator(corpus, trainer)
model = json.loads(trained.to_str())['model']
tokens = sorted(model['vocab'], key=model['vocab'].get)
merges = [' '.join(merge) if isinstance(merge, list) else merge for merge in model['merges']]
writer = GGUFWriter(here / 'bytelevel.gguf', 'llama')
writer.add_tokenizer_model('gpt2')
writer.add_tokenizer_pre('gpt-2')
writer.add_token_list(tokens)
writer.add_token_types([3 if token == '<|end|>' else 1 for token in tokens])
writer.add_token_merges(merges)
writer.add_eos_token_id(0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

trained.decoder = decoders.ByteLevel()
some = lines[:120]
found = {'lines': lines, 'bytelevel': {}}
for name, rule in rules.items():
    trained.pre_tokenizer = rule
    trained.model.ignore_merges = name == 'llama-bpe'
    found['bytelevel'][name] = ids(trained, some)

fields = GGUFReader(smollm).fields
vocab = {token: i for i, token in enumerate(fields['tokenizer.ggml.tokens'].contents())}
merges = [tuple(merge.split(' ')) for merge in fields['tokenizer.ggml.merges'].contents()]
own = Tokenizer(models.BPE(vocab=vocab, merges=merges))
own.pre_tokenizer = rules['smollm']
types = fields['tokenizer.ggml.token_type'].contents()
own.add_special_tokens([token for token, i in vocab.items() if types[i] == 3])
found['smollm2'] = ids(own, lines)
differing = sum(a != b for a, b in zip(found['smollm2'], ids(theirs.backend_tokenizer, lines)))
print(f'{differing} of {len(lines)} lines differ from transformers, which does not split digits')

spm = Tokenizer.from_file(str(golden / 'stories260K/float/tokenizer.json'))
found['stories260K'] = [spm.encode(text).ids for text in lines]
found['stories260K_text'] = [spm.decode(row) for row in found['stories260K']]
write('tokens.json', found)
