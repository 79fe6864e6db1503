"""Token ids of strings that tokenizers get wrong, by the bundled model's tokenizer and by the
same vocabulary with the special tokens of other models' folders."""

import json
import random
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

TEXTS = [
    "",
    " ",
    "a",
    "a photo of a cat",
    "A PHOTO OF A CAT, Digital Art",
    "cat face, noto style, blue background",
    "masterpiece, best quality, (highly detailed:1.2), 8k, 50mm f/1.8",
    "it's they're I've we'll I'd I'm don't DON'T isn’t 'sup 'S'T",
    "rock'n'roll '' 'll 'l l' ''s '''ve",
    "x  y\tz\nw\r\nv\vu\ft",
    " leading and trailing \n",
    "no\u00a0break em\u2003space ideographic\u3000space thin\u2009space line\u2028par\u2029end",
    "zero\u200bwidth join\u200der bom\ufeff soft\u00adhyphen mongolian\u180evowel",
    "control \x01\x02\x1c\x1d\x1e\x1f\x7f \x80\x85\x9f characters",
    "1 12 123 1234567890 3.14 1,000 ½ ² ⅷ ① ٣ 三 百 Ⅻ",
    "price: $5 €6 £7 ¥8 100% #tag @name a&b c*d e^f g_h",
    "!!! ??? ... --- *** ((())) [[]] {{}} <<>> || \\ / ~ `",
    "wow!!! cat!",
    "a<|endoftext|>b <|startoftext|> c",
    "<|startoftext|><|endoftext|>",
    "A <|ENDOFTEXT|> b <|EndOfText|>!! !!<|StartOfText|>!!",
    "<|endoftext <|endoftext| |endoftext|> <||> <|endof text|>",
    "&amp; &lt;b&gt; &quot; &#39; <b>bold</b>",
    "“curly” ‘quotes’ – — … • ™ © ® ° ± × ÷",
    "full ｗｉｄｔｈ ＡＢＣ １２３ ！？",
    "ﬁ ﬂ ﬀ ﬃ ﬄ ﬅ ㎏ ㌔ ℡ №",
    "café cafe\u0301 naïve nai\u0308ve Ångström A\u030angstro\u0308m \u212bngstrom",
    "İstanbul I\u0307 ıI i\u0307 DİYARBAKIR",
    "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ ΑΣ ᾈ ᾼ ῼ",
    "STRASSE Straße STRAẞE ß ẞ ŉ ǰ ΐ ΰ",
    "Ǆ ǅ ǆ Ǉ ǈ Ǌ ǋ Ǳ ǲ Ⓐ Ⅷ ℵ K Å Ω",
    "Привет, мир! ЁЖИК й и\u0306 Й И\u0306",
    "你好，世界。一只红色的苹果",
    "日本語の猫 ひらがな カタカナ ｶﾞ か\u3099 ガ カ\u3099 ー",
    "한국어 고양이 각 \u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af 힣",
    "العربية قِطّة لا إله ﷽ ﻻ",
    "עברית חָתוּל שָׁלוֹם \u05e9\u05bc\u05c1 \u05e9\u05c1\u05bc",
    "हिन्दी बिल्ली क\u093c क़ ड\u093c ढ़ কো ক\u09c7\u09be",
    "ไทย แมว น้ำ ກຳ ລາວ ខ្មែរ မြန်မာ བོད་ཡིག",
    "தமிழ் பூனை ௐ తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
    "Tiếng Việt con mèo Việt Vie\u0323\u0302t Vie\u0302\u0323t",
    "ქართული ᲙᲐᲢᲐ Հայերեն ԿԱՏՈՒ և",
    "ᏣᎳᎩ ꭰ Ꮳ ᏸ 𞤀𞤁 𐐀𐐁 𐲀 𑢠 𖹀",
    "😀 😃😄 🐱 ❤ ❤️ ☺︎ 👍🏽 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 1️⃣ 🫠 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "𝓬𝓪𝓽 𝔠𝔞𝔱 𝕔𝕒𝕥 𝖈𝖆𝖙 𝐂𝐀𝐓 🄰🅰 🅱️",
    "a\u0300\u0301\u0302\u0303\u0304 e\u0323\u0302 o\u031b\u0323 q\u0307\u0323 q\u0323\u0307",
    "Z̸̢̡͔͓̺a̷̛̜l̶̟g̵̰o̸̤",
    "\u0344 \u0958 \u0f73 \u0f43 \u2126 \u2adc \ufb1d \U0001d15e \U0002f800 豈 見",
    "\ue000 \uf8ff \ufffe \uffff \U000e0001 \U0010ffff \ufffd",
    "\u0378 \u1c89 \ua7cb \ua7dc \U00010d50 \U00016ea0 \U0002ebf0 \U00011bf1",
    "a\u07fd\u0323 a\u0323\u07fd a\u1df6\u0301 क\u0c3c\u0323 \U00011935\U00011930",
    "\u0375\u037e\u0387 ; · \u2000\u2001 \u2329 〈",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "xXxXxXx qqqqqqqqqq zzzzz!!!!!zzzzz 0000000000 ________ ==========",
    "http://example.com/a?b=c&d=%20e#f C:\\dir\\file.png user@host.org",
    "a,b;c:d.e|f/g\\h-i+j=k a_b a__b _a_ 'a' \"a\" `a`",
    "cat " * 60,
    "猫" * 40,
    "🐱" * 30,
    "the quick brown fox jumps over the lazy dog " * 4,
]

POOLS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789 .,;:!?'\"-_()[]{}<>|/\\@#$%^&*+=~`",
    " \t\n\u00a0\u2003\u3000\u200b\x1f\x85",
    "äöüßéèêçñåøæœłžšřőİıŞğÇÅΩΣσςЖЙЁ",
    "\u0300\u0301\u0302\u0303\u0307\u0308\u030a\u0323\u0327\u0328\u0345\u05bc\u093c\u3099",
    "的一是不了人我在有他这日本語ひらがなカタカナ한국어",
    "😀🐱❤\ufe0f\u200d👩🚀🏽🇩🇪⃣",
]
PIECES = ["'s", "'ll", "'d", "<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>", " cat", "!!"]


def random_text(source):
    parts = []
    for _ in range(source.randint(1, 30)):
        if source.random() < 0.15:
            parts.append(source.choice(PIECES))
        elif source.random() < 0.1:
            point = source.randrange(1, 0x30000)
            parts.append(chr(point) if not 0xD800 <= point < 0xE000 else "?")
        else:
            parts.append(source.choice(source.choice(POOLS)))
    return "".join(parts)


def token(content, normalized, **more):
    flags = {"lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}
    return {"content": content, **flags, **more}


START, END = "<|startoftext|>", "<|endoftext|>"
MAP = {"bos_token": token(START, True), "eos_token": token(END, True)}
MAP["unk_token"] = token(END, True)
DECODER = {
    "49406": token(START, True, special=True),
    "49407": token(END, True, special=True),
}
FOLDERS = {
    "sd15": ({}, {**MAP, "pad_token": END}),
    "sd2": ({"pad_token": END}, {**MAP, "pad_token": "!"}),
    "pad-in-config": ({"pad_token": "!"}, None),
    "sdxl": ({"added_tokens_decoder": DECODER, "pad_token": END}, {**MAP, "pad_token": END}),
    "neither": (None, None),
}
FOLDER_TEXTS = TEXTS[3:6] + TEXTS[16:22]


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


def folder_case(emoji, name, config, special):
    with tempfile.TemporaryDirectory() as folder:
        for file in ("vocab.json", "merges.txt"):
            shutil.copyfile(emoji / "tokenizer" / file, Path(folder) / file)
        if config is not None:
            config = {"tokenizer_class": "CLIPTokenizer", **config}
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
        if special is not None:
            (Path(folder) / "special_tokens_map.json").write_text(json.dumps(special))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    return {
        "name": name,
        "config": config,
        "special": special,
        "pad": tokenizer.pad_token_id,
        "cases": [{"text": text, "ids": ids(tokenizer, text)} for text in FOLDER_TEXTS],
    }


def make(into, emoji):
    source = random.Random(1)
    tokenizer = CLIPTokenizer.from_pretrained(emoji / "tokenizer")
    texts = TEXTS + [random_text(source) for _ in range(200 - len(TEXTS))]
    whole = {
        "cases": [{"text": text, "ids": ids(tokenizer, text)} for text in texts],
        "folders": [folder_case(emoji, name, *files) for name, files in FOLDERS.items()],
    }
    lines = json.dumps(whole).replace('{"text":', '\n{"text":')
    (into / "tokens.json").write_text(lines + "\n")
