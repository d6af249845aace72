"""Does the jobs of a JSON list with huggingface_hub; see test/interop/hub.test.ts.

kept       writes into `out`, by name, the paths of files that the cache holds, as hf_hub_download finds them without the network; null where not
download   downloads files of a model from the server that HF_ENDPOINT names
"""

import json
import sys

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError


def kept(job):
    found = {"": snapshot_download(job["id"], local_files_only=True)}
    for file in job["files"]:
        try:
            found[file] = hf_hub_download(job["id"], file, local_files_only=True)
        except LocalEntryNotFoundError:
            found[file] = None
    with open(job["out"], "w") as out:
        json.dump(found, out)


def download(job):
    for file in job["files"]:
        hf_hub_download(job["id"], file)


with open(sys.argv[1]) as jobs:
    for job in json.load(jobs):
        {"kept": kept, "download": download}[job["task"]](job)
