"""What stable-diffusion-webui and ComfyUI read in a prompt.

    prompt_cases.py WEBUI COMFYUI

Neither is a package of PyPI, so this is run by hand beside checkouts of them (webui 1.6 or
later; with lark 1.3.1, older ones break ties by chance) and make.py leaves prompts.json alone.
"""

import ast
import importlib.util
import json
import math
import random
import sys
from pathlib import Path

INTO = Path(__file__).resolve().parents[1] / "golden/prompts.json"

TEXTS = """
a cat|a (cat)|a [cat]|((a)) ((b:1.2)) [[c]]|(a:1.3), (b : 0.5 ), (c:-1), (d:.5)|(a:b:1.2)
a:1.2)
(unclosed (and [this|]unopened) (a [b) c]|()[](())|(:1.5)|\\(a\\) \\[b\\] \\\\ \\x \\
(a\\:1.2)|a (b (c:2) d:3) e
a BREAK b|BREAK|aBREAK b|a BREAKb|a BREAK BREAK b|(a BREAK b)|(a BREAK b:1)|BREAK a BREAK
é BREAKé|a  \t BREAK,b
a [red:blue:5] b|[to:5]|[from::5]|[a:b:0.5]|[a:b:.25] [c:d:3]|[a:b:1.0]|[a:b:0]|[a:b:-1]
[a:b:100]|[a:b: 7 ]
[a:[b:c:6]:3]|[[a:b:2]:c:4]|[(a:1.2):b:4]|(a [b:c:3]:1.2)|[a|b]|[a|b|c] d|[a|]|[|a]|[a||b]
[[a|b]|c]|[a|[b:c:3]]
[a:b:c:3]|[a:b]|[a:b:]|[a::]|[::3]|[:3]|[a:3|b]|x | y [a:b:3]|[a:b:1e0]|[a:b:1.5]|[a:b:3.]
[a:b:+.5]
a AND b|a :1.5 AND b:0.5|a AND b AND c :-1|ANDy AND bAND|a AND|AND|12:30|a :1 :2|a: .5
a:5.|a AND [b:c:3] :0.7
(a:1.2.3) b|(a:.)|a: 1.2.3|a\u00a0AND\u00a0b :\u00a02|é AND é|_AND_|a-AND-b|(a AND b:1.2)
a\nAND\nb\n|[a:b:3]x[c:d:4]|((a][:b:c [d:3]
a [{b;d{:.5] c|[fe|]male|[fe|||]male|a [[[b]]:2]|a[b:[c:d:2]:1]e
[[a:1]|[a:1|[a:3][b|[a]b:3]|(a:3]|[a:(b:3]|[a:b:3x]
foo ((((lol (cat:666) attack:100)))) baz|foo ((((lol (cat:666) attack):100))) baz|(a:1e1)
(a: 2 )|(a))(b)|)(a)|(a)(b:2)c
((foo):1.1)|((foo:1.0):0.0)|(:2)|(a:)|(\\(a\\):2)|\\((a)\\)|(a\\)|a\\\\(b\\\\)
"""
ALPHABET = [*"ab ([{:|)]}", *"([:|)]", "\\", "3", "0.5", "1.2", "BREAK", " BREAK ", " AND "]
ALPHABET += [":2", "\n", ", "]
GROUPS = ["[{0}:{1}:{n}]", "[{0}:{n}]", "[{0}::{n}]", "[{0}|{1}]", "({0})", "({0}:{n})", "[{0}]"]
GROUPS += ["{0} {1}"]
COMFY = {"parse_parentheses", "token_weights", "escape_important", "unescape_important"}


def load(path, names, **found):
    """Only what the file defines by those names, without what it imports from its program."""
    tree = ast.parse(Path(path).read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", None) in names]
    exec(compile(tree, path, "exec"), found)
    return found


def noise(source):
    return "".join(source.choice(ALPHABET) for _ in range(source.randint(1, 24)))


def nested(source, depth=3):
    if depth == 0 or source.random() < 0.2:
        return source.choice(["cat", "a dog", "", " x", "y "])
    parts = [nested(source, depth - 1) for _ in range(2)]
    number = source.choice(["3", "0.5", "1.2", ".25", " 7", "-1"])
    return source.choice(GROUPS).format(*parts, n=number)


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except (ValueError, OverflowError):
        return None  # the program itself fails: ours says why


def main():
    spec = importlib.util.spec_from_file_location(
        "prompt_parser", f"{sys.argv[1]}/modules/prompt_parser.py"
    )
    webui = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(webui)
    comfy = load(f"{sys.argv[2]}/comfy/sd1_clip.py", COMFY)
    source = random.Random(1)
    # In the list above a bar parts texts, but for one between square brackets' options.
    texts = [text for line in TEXTS.split("\n") for text in split(line)]
    texts += [noise(source) for _ in range(300)] + [nested(source) for _ in range(300)]
    cases = []
    for text in texts:
        lists, flat, _ = webui.get_multicond_prompt_list([text])
        weighted = attempt(comfy["token_weights"], comfy["escape_important"](text), 1.0)
        if any(not math.isfinite(weight) for _, weight in weighted):
            continue
        cases.append(
            {
                "text": text,
                "parts": [[flat[i], weight] for i, weight in lists[0]],
                "states": webui.get_learned_conditioning_prompt_schedules([text], 10)[0],
                "runs": attempt(webui.parse_prompt_attention, text),
                "comfy": [[comfy["unescape_important"](t), w] for t, w in weighted],
            }
        )
    lines = json.dumps(cases, ensure_ascii=False).replace('{"text":', '\n{"text":')
    INTO.write_text(lines + "\n")


def split(line):
    parts, depth, part = [], 0, ""
    for c in line:
        depth += (c == "[") - (c == "]")
        if c == "|" and depth <= 0:
            parts.append(part)
            part, depth = "", 0
        else:
            part += c
    return [*parts, part]


if __name__ == "__main__":
    main()
