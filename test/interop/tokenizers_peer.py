"""What Python's tokenizers and transformers make of texts, token ids and conversations.

Each job: {"task": "text", "folder", "texts", "ids", "out"}: of each text its ids, with special tokens around it and without, and where special
tokens in it are text; their text with and without special tokens; of each list of ids its texts.
{"task": "chat", "folder", "chats": [{"messages", "options"}], "out"}: of each conversation its prompt, or null where the template refuses it, and
the ids of the prompt whose messages cannot spell control tokens."""
import json, sys, warnings
from tokenizers import Tokenizer


warnings.filterwarnings("ignore")


def text(job):
    made = Tokenizer.from_file(f"{job['folder']}/tokenizer.json")
    made.no_truncation()
    made.no_padding()
    cases = []
    for each in job["texts"]:
        ids = made.encode(each).ids
        made.encode_special_tokens = True
        typed = made.encode(each, add_special_tokens=False).ids
        made.encode_special_tokens = False
        cases.append([ids, made.encode(each, add_special_tokens=False).ids, typed, made.decode(ids), made.decode(ids, skip_special_tokens=False)])
    return {"cases": cases, "decoded": [[made.decode(ids), made.decode(ids, skip_special_tokens=False)] for ids in job["ids"]]}


def chat(job):
    from transformers import AutoTokenizer
    made = AutoTokenizer.from_pretrained(job["folder"])
    out = []
    for each in job["chats"]:
        options = dict(each["options"])
        options.update(options.pop("variables", {}))
        try:
            prompt = made.apply_chat_template(each["messages"], tokenize=False, **options)
            ids = made.apply_chat_template(each["messages"], sanitize_control_tokens=True, return_dict=False, **options)
        except Exception as error:
            prompt, ids = None, repr(error)
        out.append([prompt, ids])
    return out


for job in json.load(open(sys.argv[1])):
    json.dump({"text": text, "chat": chat}[job["task"]](job), open(job["out"], "w"))
