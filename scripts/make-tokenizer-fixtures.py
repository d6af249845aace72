"""Writes test/golden/tokenizers.json: what tokenizers, transformers and sentencepiece make of texts with small tokenizers of every kind, with
vocab.json and merges.txt, and with tokenizer.model. Needs sentencepiece beside the libraries of test/interop/requirements.txt."""
import base64, io, json, os, tempfile
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

lines = [line.strip() for line in open("models/tinystories.txt", encoding="utf8") if line.strip()][:400]
texts = ["", " ", "Once upon a time, there was a little girl.", "  two  spaces ", "It's 10:45 & 3.5% of ١٢٣ or ½ x² Ⅷ!", "Grüße, naïve café — “quoted”…",
         "日本語 한국어 русский ไทย", "a\u0301 ﬁ \u00a0x\u3000y\u0085z\ufeffw", "👩‍👩‍👧 😀", "don't (stop), you're [here] {now}", "line\nbreak\r\n\ttab", "____ under_score snake_case",
         "<s>marked</s> <unk> [MASK]", "the the the the the", "0123456789", "ALL CAPS and MixedCase", "...!!!???", "x" * 40]
out = {"kinds": {}, "vocabularies": {}, "pieces": {}}


def cases(made):
    made.no_padding()
    return [[text, (ids := made.encode(text, add_special_tokens=False).ids), made.decode(ids)] for text in texts]


def trained(model, trainer, pre=None, norm=None, dec=None):
    made = Tokenizer(model)
    if pre is not None:
        made.pre_tokenizer = pre
    if norm is not None:
        made.normalizer = norm
    if dec is not None:
        made.decoder = dec
    made.train_from_iterator(lines, trainer)
    return made


P = pre_tokenizers
bpe = lambda **given: (models.BPE(unk_token="<unk>", **given), trainers.BpeTrainer(vocab_size=160, special_tokens=["<unk>", "<s>"], show_progress=False))
kinds = {
    "BPE, words": (*bpe(), P.Whitespace()), "BPE, split at spaces": (*bpe(fuse_unk=True), P.WhitespaceSplit()), "BPE, as BERT": (*bpe(), P.BertPreTokenizer()),
    "BPE, marked spaces": (*bpe(), P.Metaspace(), None, decoders.Metaspace()),
    "BPE, marked spaces, first": (*bpe(), P.Metaspace(prepend_scheme="first", split=False), None, decoders.Metaspace(prepend_scheme="first", split=False)),
    "BPE, marked spaces, never": (*bpe(), P.Metaspace(prepend_scheme="never"), None, decoders.Metaspace(prepend_scheme="never")),
    "BPE, digits": (*bpe(), P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=True)]), None, decoders.ByteLevel()),
    "BPE, runs of digits": (*bpe(), P.Sequence([P.Digits(individual_digits=False), P.WhitespaceSplit()])),
    "BPE, a prefix and a suffix": (models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"),
                                   trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], continuing_subword_prefix="##", end_of_word_suffix="</w>", show_progress=False), P.Whitespace()),
    "BPE, delimited": (*bpe(), P.CharDelimiterSplit("e")), "BPE, lower case": (*bpe(), P.Whitespace(), normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])),
    "WordPiece": (models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=160, special_tokens=["[UNK]", "[MASK]"], show_progress=False), P.BertPreTokenizer(),
                  normalizers.BertNormalizer(), decoders.WordPiece()),
    "Unigram": (models.Unigram(), trainers.UnigramTrainer(vocab_size=160, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False), P.Metaspace(), None, decoders.Metaspace()),
}
for behavior in ("removed", "isolated", "contiguous", "merged_with_previous", "merged_with_next"):
    kinds[f"BPE, punctuation {behavior}"] = (*bpe(), P.Punctuation(behavior))
    kinds[f"BPE, split {behavior}"] = (*bpe(), P.Split(Regex(r"\s|[aeiou]"), behavior))
    kinds[f"BPE, split {behavior}, inverted"] = (*bpe(), P.Split(Regex(r"\w+"), behavior, invert=True))
for name, parts in kinds.items():
    made = trained(*parts)
    out["kinds"][name] = {"json": json.loads(made.to_str()), "cases": cases(made)}
# Unigram whose strangers become bytes.
made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), ("the", -2.5), ("▁the", -2.2)] + [(f"<0x{byte:02X}>", -9.0) for byte in range(256)], unk_id=0, byte_fallback=True))
made.pre_tokenizer, made.decoder = P.Metaspace(), decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
out["kinds"]["Unigram, bytes"] = {"json": json.loads(made.to_str()), "cases": cases(made)}

# Byte-level tokens in vocab.json and merges.txt.
level = trained(models.BPE(), trainers.BpeTrainer(vocab_size=400, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False), P.ByteLevel(add_prefix_space=False))
vocab = json.loads(level.to_str())["model"]["vocab"]
merges = json.loads(level.to_str())["model"]["merges"]
files = {"vocab.json": json.dumps(vocab | {"<|endoftext|>": 400, "</s>": 401, "<pad>": 402}, ensure_ascii=False), "merges.txt": "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"}
end = dict(lstrip=False, rstrip=False, normalized=True, single_word=False)
configs = {
    "gpt2": ({"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}, {}),
    "opt": ({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False, "errors": "replace",
             **{name: {"__type": "AddedToken", "content": content, **end} for name, content in [("bos_token", "</s>"), ("eos_token", "</s>"), ("unk_token", "</s>"), ("pad_token", "<pad>")]}},
            {"special_tokens_map.json": {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}}),
    "qwen2": ({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "bos_token": None,
               "added_tokens_decoder": {str(i): {"content": content, **end, "normalized": False, "special": special}
                                        for i, content, special in [(400, "<|endoftext|>", True), (403, "<|im_start|>", True), (404, "<|im_end|>", True), (405, "<tool_call>", False)]}}, {}),
}
chat = ["<|im_start|>user\nHi</s> there<|im_end|>\n<tool_call><|endoftext|> <pad>x"]
for name, (config, more) in configs.items():
    with tempfile.TemporaryDirectory() as folder:
        every = {**files, "tokenizer_config.json": json.dumps(config), **{file: json.dumps(value) for file, value in more.items()}}
        for file, text in every.items():
            open(os.path.join(folder, file), "w", encoding="utf8").write(text)
        made = AutoTokenizer.from_pretrained(folder)
        out["vocabularies"][name] = {"config": config, "more": more, "cases": [
            [text, (ids := made.encode(text)), made.encode(text, add_special_tokens=False), made.decode(ids, skip_special_tokens=True)] for text in texts + chat]}
out["files"] = files

# tokenizer.model, as the library of SentencePiece itself reads it.
models_ = {
    "llama": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True),
    "gemma": dict(model_type="bpe", vocab_size=430, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
                  user_defined_symbols=["<start_of_turn>", "[UNUSED]"]),
    "unigram": dict(model_type="unigram", vocab_size=420, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=True),
}
for name, options in models_.items():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, character_coverage=0.999, minloglevel=2, **options)
    made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    plain = [text for text in texts if "<" not in text] + ["x<start_of_turn>y [UNUSED]z"]
    out["pieces"][name] = {"model": base64.b64encode(model.getvalue()).decode(), "cases": [[text, (ids := made.encode(text)), made.decode(ids)] for text in plain]}
json.dump(out, open("test/golden/tokenizers.json", "w", encoding="utf8"), ensure_ascii=False, separators=(",", ":"))
