"""Writes test/golden/tasks.json: small sets of questions in the fields that the hub's data sets have, and what lm-eval 0.4.13 makes of them
with stories260K in float32: accuracies, and the log-likelihood of every answer."""
import json, os, tempfile
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

root = os.path.join(os.path.dirname(__file__), "..")
lambada = [{"text": text} for text in [
    "Once upon a time there was a little girl named Lily. She loved to play with her toys. One day, Lily's mom gave her a big red ball. Lily was very happy",
    "Tom had a small dog. The dog liked to run in the park. Every day, Tom and his dog went to the park",
    "The sun was bright. The bird could fly very high in the sky",
    "Lily and Ben are friends. They like to play in the park. One day they see a big tree. Ben wants to climb the tree",
    "It was time for bed. His mom gave him a hug. \"Good night,\" she said. \"I love you\" He smiled and said, \"I love you too, mom.\"",
    "\u201cCan we go home?\u201d asked the girl. Her mom smiled and took her hand and they went home",
    "The cat sat on the mat. The cat sat on the mat. The cat sat on the mat",
    "One day, a boy went to the  store with his mom and  dad"]]
hellaswag = [
    dict(activity_label="Playing ball", ctx_a="A boy throws a ball in the park.", ctx_b="the dog", label="0",
         endings=["runs after the ball and brings it back.", "eats the moon with a spoon.", "is a very big red car.", "says that school was fun."]),
    dict(activity_label="Baking", ctx_a="[header] How to bake a cake [title] Mix the eggs. [step] Take a big bowl.", ctx_b="", label="2",
         endings=["Put the bowl on your head.  [substeps] Sing.", "Go to the park to play.", "Put the eggs in the bowl and mix. [title] Bake.", "The dog is happy."]),
    dict(activity_label="Sleeping", ctx_a="Lily was very tired.", ctx_b="SHE went to her BED and", label="1",
         endings=["jumped in the lake.", "fell asleep.", "was a big bird.", "said hello to the sun."]),
    dict(activity_label="Reading", ctx_a="Mom reads a book to Tim.", ctx_b="tim listens and", label="3",
         endings=["flies away to the big red sky.", "eats the book.", "barks.", "smiles. He likes the story."]),
    dict(activity_label="Rain", ctx_a="It rains.", ctx_b="the children", label="0",
         endings=["go inside the house.", "go inside the house and play with their toys until the sun is back.", "x", "are sad, \u00e9t\u00e9."]),
]
arc = [
    dict(question="What do dogs like to do?", choices=dict(text=["bark", "read", "fly", "drive"], label=["A", "B", "C", "D"]), answerKey="A"),
    dict(question="Where does a fish live?", choices=dict(text=["in the sky", "in a tree", "in the water"], label=["1", "2", "3"]), answerKey="3"),
    dict(question="What is in the sky at night?", choices=dict(text=["the sun", "the moon", "a ball", "a cake", "a boat"], label=["A", "B", "C", "D", "E"]), answerKey="B"),
    dict(question="What do you eat?", choices=dict(text=["a cake", "a car", "a rock", "the park"], label=["A", "B", "C", "D"]), answerKey="A"),
    dict(question="Who is the mom of a boy?", choices=dict(text=["a dog and a cat and a bird", "his mom", "him", "you"], label=["A", "B", "C", "D"]), answerKey="B"),
]
piqa = [
    dict(goal="How do you make a friend?", sol1="You play together and share your toys.", sol2="You share the big bird with your hat and run.", label=0),
    dict(goal="To clean a toy,", sol1="put it in the mud and play.", sol2="wash it with water.", label=1),
    dict(goal="To go to bed,", sol1="close your eyes and sleep.", sol2="close your sleep and eyes.", label=0),
    dict(goal="To find a lost ball", sol1="look under the bed.", sol2="look.", label=0),
    dict(goal="To be happy, ", sol1="cry.", sol2="play with your friends.", label=1),
]
winogrande = [
    dict(sentence="The ball did not fit in the box because the _ was too big.", option1="ball", option2="box", answer="1"),
    dict(sentence="Lily gave Tom a toy because _ was very happy.", option1="Lily", option2="Tom", answer="2"),
    dict(sentence="The dog ran after the cat until the _ was tired.", option1="cat", option2="dog", answer="2"),
    dict(sentence="_ said that the park was fun.", option1="Mom", option2="The big red moon", answer="1"),
    dict(sentence="Tim was sad. He saw that the _  was not in the box.", option1="toy", option2="sky", answer="1"),
]
sets = dict(lambada=("lambada/lambada_openai.yaml", "test", lambada), hellaswag=("hellaswag/hellaswag.yaml", "validation", hellaswag),
            arc=("arc/arc_easy.yaml", "test", arc), piqa=("piqa/piqa.yaml", "validation", piqa),
            winogrande=("winogrande/default.yaml", "validation", winogrande))

import lm_eval
library = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
model = HFLM(pretrained=os.path.join(root, "models/stories260K"), dtype="float32", device="cpu", batch_size=1)
out = {}
with tempfile.TemporaryDirectory() as folder:
    for name, (include, split, items) in sets.items():
        data = os.path.join(folder, f"{name}.jsonl")
        with open(data, "w") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)
        yaml = f"include: {os.path.join(library, include)}\ntask: local_{name}\ndataset_path: json\ndataset_name: null\n" \
               f"dataset_kwargs:\n  data_files:\n    {split}: {data}\ntest_split: {split}\nvalidation_split: null\ntraining_split: null\n"
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, name, f"local_{name}.yaml"), "w") as file:
            file.write(yaml)
        manager = TaskManager(include_path=os.path.join(folder, name))
        result = evaluator.simple_evaluate(model=model, tasks=[f"local_{name}"], task_manager=manager, num_fewshot=0, bootstrap_iters=0, log_samples=True)
        figures = {key.removesuffix(",none"): value for key, value in result["results"][f"local_{name}"].items() if key.endswith(",none") and value != "N/A"}
        samples = sorted(result["samples"][f"local_{name}"], key=lambda sample: sample["doc_id"])
        responses = [sample["filtered_resps"] for sample in samples]
        out[name] = dict(items=items, figures=figures, answers=[[answer[0] for answer in answers] for answers in responses])
        if name == "lambada":
            out[name]["greedy"] = [answer[1] for [answer] in responses]
        print(name, figures)
with open(os.path.join(root, "test/golden/tasks.json"), "w") as file:
    json.dump(out, file, indent=1)
    file.write("\n")
