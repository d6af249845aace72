"""Writes test/golden/language.json, what tokenizers and transformers make of small tokenizers and chat templates, and test/golden/longrope, a
small Llama with LongRoPE and its logits."""
import json, random, tempfile, os
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import _compile_jinja_template

random.seed(0)
plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)


def added(id, content, **flags):
    return {"id": id, "content": content, **plain, **flags}


def tokenizer(vocab, merges, added_tokens, kind):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                 byte_fallback=False, ignore_merges=False, vocab=vocab, merges=merges)
    parts = dict(version="1.0", truncation=None, padding=None, added_tokens=added_tokens, post_processor=None)
    if kind == "byte":
        return {**parts, "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    decoders = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    return {**parts, "normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, spaces]}, "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {**model, "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}}


letters = "Ġabcdefghijklmnopqrstuvwxyz.,!?'_-CATNY<>|"
byte_vocab = {c: i for i, c in enumerate(letters)}
for word in ("at", "cat", "Ġa", "he", "the"):
    byte_vocab[word] = len(byte_vocab)
byte_merges = [["a", "t"], ["c", "at"], ["Ġ", "a"], ["h", "e"], ["t", "he"]]
n = len(byte_vocab)
byte_added = [
    # In the vocabulary as well.
    added(byte_vocab["cat"], "cat", single_word=True), added(n, "<|end|>", special=True), added(n + 1, "<strip>", lstrip=True, rstrip=True),
    added(n + 2, "New York", single_word=True), added(n + 3, "<|e", special=True), added(n + 4, "foo"), added(n + 5, "The", normalized=True),
]

piece_vocab = {c: i for i, c in enumerate(["<unk>", "<s>", "</s>", "▁", *"abcdefghijklmnopqrstuvwxyz.,!", "▁a", "ab"])}
for byte in range(256):
    piece_vocab[f"<0x{byte:02X}>"] = len(piece_vocab)
m = len(piece_vocab)
piece_added = [added(0, "<unk>", special=True), added(1, "<s>", special=True), added(2, "</s>", special=True), added(m, "dog", normalized=True),
               added(m + 1, "cat", normalized=True, single_word=True), added(m + 2, "<x>", rstrip=True)]
jsons = {"byte level": tokenizer(byte_vocab, byte_merges, byte_added, "byte"),
         "pieces": tokenizer(piece_vocab, [["▁", "a"], ["a", "b"]], piece_added, "pieces")}

words = ["cat", "cats", "a cat", " ", "  ", "concat", "cat.", "_cat", "New York", "New Yorker", "<|end|>", "<|e", "<strip>", "foo", "foocat", "the",
         "The", "-", "é", "日本", "😀", "Dog", "dog", "DOG", "<s>", "Cat", "<x>", "ab", "a", ",", "\n"]
texts = ["", *words, *("".join(random.choice(words) for _ in range(random.randint(2, 5))) for _ in range(80))]
out = {"tokenizers": {}, "cleanup": [], "templates": []}
for name, parts in jsons.items():
    made = Tokenizer.from_str(json.dumps(parts))
    cases = []
    for text in texts:
        ids = made.encode(text).ids
        cases.append([text, ids, made.decode(ids), made.decode(ids, skip_special_tokens=False)])
    out["tokenizers"][name] = {"json": parts, "cases": cases}

# Clean-up of spaces: of BPE and of WordPiece tokenizers, by what tokenizer_config.json says.
wordpiece = {"[UNK]": 0, "it": 1, "'": 2, "s": 3, ".": 4, "!": 5, "n": 6, "##t": 7, "do": 8, "n't": 9, "'s": 10, ",": 11, "a": 12, "'m": 13}
kinds = {
    "BPE": tokenizer({c: i for i, c in enumerate(["Ġ", "a", "'", "m", "s", ".", "!", "t", "n", "?"])}, [], [], "byte"),
    "WordPiece": dict(version="1.0", truncation=None, padding=None, added_tokens=[], post_processor=None, normalizer=None,
                      pre_tokenizer={"type": "Whitespace"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": False},
                      model=dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100, vocab=wordpiece)),
}
configs = [{}, {"clean_up_tokenization_spaces": False}, {"clean_up_tokenization_spaces": True},
           {"clean_up_tokenization_spaces": True, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}]
for kind, parts in kinds.items():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        json.dump(parts, open(path, "w"))
        for config in configs:
            made = PreTrainedTokenizerFast(tokenizer_file=path, **config)
            size = len(parts["model"]["vocab"])
            streams = [[random.randrange(size) for _ in range(12)] for _ in range(20)]
            if kind == "BPE":
                # " 'm a ' s ! n't ."
                streams += [[0, 2, 3, 0, 1, 0, 2, 0, 4, 0, 6, 0, 8, 2, 7, 0, 5]]
            texts = [made.decode(ids, skip_special_tokens=True) for ids in streams]
            out["cleanup"].append({"json": parts, "config": config, "ids": streams, "texts": texts})

values = {"yes": True, "no": False, "none_": None, "three": 3, "half": 1.5, "quote": "it's", "list": [1, "a", True, None], "empty": [],
          "dict": {"k": 1, "b": True, "z": None}, "messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True}
templates = [
    "{{ yes }} {{ no }} {{ none }} {{ True }}", "{{ none_ }}", "{{ three }} {{ half }} {{ 1.0 }}", "{{ list }}", "{{ dict }}", "{{ [quote] }}",
    "{{ ['a\"b'] }} {{ ['\\n'] }} {{ ['é\\\\'] }}", "{{ (1, 2) }} {{ [half, 2.0] }}", "{{ absent }}|{{ absent is defined }}", "{{ dict.absent }}|",
    "{{ 'x' ~ yes ~ none_ ~ 1.0 }}", "{{ absent ~ 'x' }}", "{{ yes | string }}{{ none_ | string }}", "{{ list | join('-') }}", "{{ 'abc' | join('-') }}",
    "{{ '%s and %s' % ('a', 1) }}", "{{ '%d items' % 3 }}", "{{ '%s' % yes }} {{ '%s' % none_ }}", "{{ '%.2f' % 1.236 }}", "{{ '%s' | format('b') }}",
    "{{ '%5s|%-5s|%05d|%+d' % ('a', 'b', -3, 4) }}", "{{ '%s%%' % 5 }}", "{{ '%(a)s' % {'a': 1} }}", "{{ '%r' % 'a' }} {{ '%x' % 255 }}", "{{ '%s' % list }}",
    "{{ -7 % 3 }} {{ 7 % -3 }} {{ 7 % 3 }}", "{{ yes == true }} {{ 1 == true }} {{ '1' == 1 }} {{ [1] == [1] }} {{ dict == dict }} {{ absent == none }}",
    "{{ 1 != 1.0 }} {{ quote != 'x' }}", "{{ '\\n a\\n\\n'.strip('\\n') }}|{{ 'xax'.lstrip('x') }}|{{ 'xax'.rstrip('x') }}|{{ ' x '.strip() }}|",
    "{% for m in messages %}{{ loop.first }}{{ loop.index }}{{ m.role }}: {{ m.content }}{% endfor %}",
    "{% set ns = namespace(x=false) %}{% for i in range(3) %}{% if i == 2 %}{% set ns.x = true %}{% endif %}{% endfor %}{{ ns.x }}",
    "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(yes) }}", "{% set x %}a{{ yes }}{% endset %}{{ x }}", "{{ list | first }} {{ list | last }}",
    "{% if no %}a{% elif yes %}{{ yes }}{% else %}c{% endif %}", "{{ 'x' if yes else 'y' }}{{ 'x' if no }}", "{{ dict | tojson }} {{ list | tojson }}",
    "  {% if yes %}\n x\n  {% endif %}\nend", "{%- if yes -%} yes {%- endif -%}", "{{ messages[0]['content'] | upper }} {{ messages[-1].role }}",
    "{{ bos_token }}{% if bos_token is defined %}defined{% endif %}", "{{ tools is none }} {{ 'y' if tools else 'n' }}", "{{ messages }}", "{{ empty }} {{ empty | length }}",
    "{{ range(3) | join }} {{ range(1, 4) | join }} {{ range(5, 0, -2) | join }} {{ range(2, 2) | length }}",
]
for source in templates:
    text = _compile_jinja_template(source).render(**values, tools=None, documents=None)
    out["templates"].append([source, text])
out["values"] = values
json.dump(out, open("test/golden/language.json", "w"), ensure_ascii=False)

# LongRoPE: texts of up to 16 tokens take the short factors, longer ones the long ones.
torch.manual_seed(0)
half = 8
config = LlamaConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=2 * half, vocab_size=48,
    max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=16,
                         short_factor=[1.0 + 0.125 * i for i in range(half)], long_factor=[1.0 + 1.5 * i for i in range(half)]))
model = LlamaForCausalLM(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
model.save_pretrained("test/golden/longrope")
expected = []
with torch.no_grad():
    for length in (5, 16, 17, 50):
        ids = torch.tensor([[(7 * i + 3) % 48 for i in range(length)]])
        expected.append({"ids": ids[0].tolist(), "logits": model.double()(ids).logits[0, -1].tolist()})
json.dump(expected, open("test/golden/longrope/expected.json", "w"))
