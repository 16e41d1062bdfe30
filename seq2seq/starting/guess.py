"""What somebody's files are for: the task, the corpus that reads them, and what is worth saying of them."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.data.lines import as_list, lines
from seq2seq.errors import InputError
from seq2seq.starting import columns, recipes, unusable
from seq2seq.starting.columns import ROWS, SOURCE_NAMES, TARGET_NAMES, Column, FileColumns
from seq2seq.starting.found_files import KINDS, FoundFiles, bare
from seq2seq.starting.guess_kind import Guess
from seq2seq.starting.guess_letters import of_letters, order_of
from seq2seq.starting.guess_series import of_series, panel

BIO = re.compile(r"O|[BIESLU]-\S+")
LABEL = re.compile(r"\d+|__label__\S+|[A-Z]{2,}(:\w+)?")
"""What stands before a text on its line: fastText's labels, numbers, words such as NUM:dist."""

TOGETHER = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text_a", "text_b"),
            ("text1", "text2"), ("query", "passage"), ("question", "passage"), ("question", "sentence"))  # fmt: skip
"""What two texts are called that have one class."""

LABELLED = 0.95
"""Share of rows with a label for each word, from which the others are taken for mistakes."""

CLASS_NAMES = ("intent", "class", "label", "category", "topic", "sentiment", "domain", "genre")
"""What a class of a whole sentence is called."""


class Asked(NamedTuple):
    """What the user has said."""

    source: str | None = None
    target: str | None = None


def guess(files: FoundFiles, asked: Asked) -> Guess:
    """What the files are for; InputError that names what only the user can know."""
    if files.endings is not None:
        return of_parallel(files, asked)
    if files.beside:
        return of_files_beside(files, asked)
    kind = KINDS.get(bare(files.train).suffix.lower()) or kind_of(files.train)
    if kind == "conllu":
        return Guess(
            "parts of speech in Universal Dependencies",
            {"class_path": "Conllu", "init_args": {"source": "form", "target": asked.target or "upos"}},
            recipes.tagging("\t", bio=False),
        )
    if kind == "conll":
        return of_conll(files)
    if kind == "lines":
        return Guess("plain text, continued letter by letter", {"class_path": "Lines", "init_args": {"running": True}},
                     recipes.generation())  # fmt: skip
    if kind in ("jsonl", "parquet"):
        table = columns.of_json(files.train) if kind == "jsonl" else columns.of_parquet(files.train)
    else:
        table = columns.of_table(files.train, kind, columns.encoding_of(files.train))
    if not table.columns or not table.columns[0].values:
        raise InputError(f"{files.train} holds no rows")
    unusable.refuse_few(files.train, len(table.columns[0].values), len(files.splits))
    return of_columns(files.train, table, asked)


def kind_of(file: Path) -> str:
    """What a file is that its name does not say, by its first lines."""
    head = list(islice(lines(file, columns.encoding_of(file)), ROWS))
    filled = [line for line in head if line.strip()]
    if not filled:
        raise InputError(f"{file} is empty")
    widths = Counter(len(line.split()) for line in filled)
    if filled[0].lstrip().startswith(("{", "[")):
        return "jsonl"
    sentences = sum(not line.strip() for line in head)
    if sentences and len(widths) <= 2 and 2 <= max(widths) <= 12 and len(filled) > sentences:
        return "conll"
    if sum("\t" in line for line in filled) > 0.95 * len(filled):
        return "tsv"
    firsts = Counter(line.split(" ", 1)[0] for line in filled)
    unusable.refuse_lines(file, filled)
    labels = all(LABEL.fullmatch(first) for first in firsts)
    if labels and len(firsts) <= min(60, len(filled) // 10) and all(" " in line for line in filled):
        return "label first"
    if len({line.count(",") for line in filled}) == 1 and "," in filled[0]:
        return "csv"
    if all(columns.NUMBER.fullmatch(line) for line in filled[1:]):
        return "csv"
    return "lines"


def of_parallel(files: FoundFiles, asked: Asked) -> Guess:
    """Line-aligned text."""
    source, target = files.endings or ("", "")
    given = (asked.source or (source if asked.target != source else target), asked.target)
    source, target = given[0], given[1] or (target if given[0] == source else source)
    if {source, target} != set(files.endings or ()):
        raise InputError(f"--source and --target are the endings {' and '.join(files.endings or ())} here")
    stem = bare(files.train).with_suffix("")
    sides = []
    for ending in (source, target):
        file = next(one for one in (Path(f"{stem}.{ending}"), Path(f"{stem}.{ending}.gz")) if one.exists())
        sides.append(Column(ending, list(islice(lines(file), ROWS))))
    task = pair(*sides)
    corpus = {"class_path": "Parallel", "init_args": {"source": source, "target": target}}
    notes = [f"source {source}, target {target}; for the other direction --source {target} --target {source}"]
    return Guess(f"{task.what}, {source} to {target}", corpus, task.settings, [*notes, *task.notes])


def of_files_beside(files: FoundFiles, asked: Asked) -> Guess:
    """Texts in one file, their labels or classes in others."""
    sides = [Column(file.name, list(islice(lines(file), ROWS))) for file in files.beside["train"]]
    names = [str(one.name) for one in sides]
    for option, name in zip(("source", "target"), asked, strict=True):
        if name is not None and name not in names:
            raise InputError(f"--{option} {name}: there is no such file, only {', '.join(names)}")
    others = [one for one in sides if str(one.name) != asked.target]
    source = next((one for one in sides if one.name == asked.source), None)
    source = source or max(others, key=lambda one: len({word for text in one.texts for word in text.split()}))
    rest = [one for one in sides if one is not source and asked.target in (None, one.name)]
    slots = next((one for one in rest if aligned(source, one)), None)
    classes = next((one for one in rest if one is not slots and one.few), None)
    if len(rest) > 1 and (slots is None or classes is None):
        raise InputError(f"{files.path}: which files are source and target? say --source NAME --target NAME; there are "
                         f"{', '.join(names)}")  # fmt: skip
    target = slots or rest[0]
    chosen = [source, target, *([classes] if slots is not None and classes is not None else [])]
    task = pair(source, target)
    places = [names.index(str(one.name)) for one in chosen]
    pairs = {split: [str(some[place].relative_to(files.path)) for place in places]
             for split, some in files.beside.items()}  # fmt: skip
    ends = {"source": str(source.name), "target": str(target.name)}
    corpus = {"class_path": "Parallel", "init_args": {**ends, "pairs": pairs}}
    third = f", classes in {chosen[2].name}" if len(chosen) > 2 else ""
    note = f"texts in {source.name}, targets in {target.name}{third}; others: --source NAME --target NAME"
    found = joint(Guess(task.what, corpus, task.settings, task.notes), classes if third else None)
    return found._replace(notes=[note, *task.notes])


def joint(task: Guess, classes: Column | None) -> Guess:
    """Labels of tokens with a class of the sentence beside them."""
    if classes is None:
        return task
    of_labels = task.settings["model"].get("metrics", ["Accuracy"])[:1]
    model = task.settings["model"] | {"metrics": [*of_labels, "SentenceAccuracy", "ExactMatch"]}
    what = f"{task.what}, and one of {len(classes.counts)} classes for each sentence"
    return Guess(what, task.corpus, task.settings | {"model": model},
                 [*task.notes, f"the class of a sentence is in {classes.name}"])  # fmt: skip


def class_beside(table: FileColumns, source: Column, target: Column) -> Column | None:
    """A column of classes beside texts and the labels of their tokens."""
    rest = [one for one in table.columns if one not in (source, target) and one.few and not one.lists]
    named = [one for one in rest if one.lower in CLASS_NAMES]
    return next(iter(named or (rest if len(rest) == 1 else [])), None)


def of_conll(files: FoundFiles) -> Guess:
    """A token a line."""
    encoding = columns.encoding_of(files.train)
    head = list(islice(lines(files.train, encoding), 20_000))
    tabs = sum("\t" in line for line in head) > 0.5 * sum(bool(line.strip()) for line in head)
    rows = [line.split("\t") if tabs else line.split() for line in head if line.strip()]
    comments = any(line.startswith("# ") and len(line.split("\t" if tabs else None)) != len(rows[-1]) for line in head)
    widths = Counter(len(row) for row in rows)
    width = widths.most_common(1)[0][0]
    rows = [row for row in rows if len(row) == width]
    if width < 2:
        raise InputError(f"{files.train}: one column, so its tokens have no labels; name a file with labels")
    numbered = all(row[0].isdecimal() for row in rows[:200])
    labels = {row[-1] for row in rows}
    settings: dict[str, Any] = {"source": 2 if numbered and width > 2 else 1, "target": width}
    settings |= {"delimiter": "\t"} if tabs else {}
    settings |= {"comments": "# "} if comments else {}
    classes = class_in_comments(head)
    settings |= {"sentence": classes.name} if classes is not None else {}
    settings |= {} if encoding == "utf-8" else {"encoding": encoding}
    bio = all(BIO.fullmatch(label) for label in labels) and "O" in labels
    what = "named entities or other spans, BIO labels" if bio else f"one of {len(labels)} labels for each token"
    return joint(Guess(what, {"class_path": "Conll", "init_args": settings}, recipes.tagging("\t", bio)), classes)


def class_in_comments(head: Sequence[str]) -> Column | None:
    """The classes that comments above sentences hold (`# intent: flight`)."""
    found: dict[str, list[str]] = {}
    for line in head:
        if (match := re.fullmatch(r"#\s*(\w+)\s*[:=]\s*(\S.*)", line)) and match[1].lower() in CLASS_NAMES:
            found.setdefault(match[1], []).append(match[2].strip())
    several = [Column(name, values) for name, values in found.items()]
    sentences = sum(not before.strip() and bool(line.strip()) for before, line in pairwise(["", *head]))
    return next((one for one in several if one.few and len(one.values) == sentences), None)


def of_columns(file: Path, table: FileColumns, asked: Asked) -> Guess:
    """A file of records."""
    known = {str(column.name): column for column in table.columns}
    for side, name in zip(("source", "target"), asked, strict=True):
        if name is not None and name not in known:
            raise InputError(f"--{side} {name}: there is no such column in {file}, only {', '.join(known)}")
    spans = next((one for one in table.columns if one.spans), None)
    if spans is not None and asked.target in (None, str(spans.name)):
        return of_spans(file, table, spans, asked)
    unusable.refuse_numbers(file, table.columns)
    if asked == Asked():
        unusable.refuse_token_rows(file, table.columns)
    table = with_points(table)
    numbers = [one for one in table.columns if one.numeric and not one.useless]
    if not numbers and any(one.dated for one in table.columns):  # a series may be constant
        numbers = [one for one in table.columns if one.numeric and len(one.counts) == 1]
    texts = [one for one in table.columns if not one.numeric and not one.useless and not one.lists]
    timed = numbers and not any(one.lists for one in table.columns) and (not texts or panel(table, texts))
    if timed and not asked.source and not asked.target:
        return of_series(file, table, numbers)
    source, target = sides(file, table, asked)
    labels = labels_beside(table, source) if target is not None and asked.target is None else None
    target = labels or target
    if target is None:
        raise InputError(
            f"{file}: {source} is the only column of text; give a file with a second one, or plain text, one line a row"
        )
    task = listed(source, target) if source.lists or target.lists else pair(source, target)
    unusable.refuse_target(file, target, task.settings["task"] == "Classification")
    if labels is not None and (classes := class_beside(table, source, labels)) is not None:
        task = joint(task, classes)._replace(corpus=task.corpus | {"sentence": classes.name})
    features = features_beside(table, source, target) if not asked.source else None
    if features is not None and task.settings["task"] == "Translation":
        task = of_forms(source, target, features)
        names: Any = [source.name, features.name]
    elif second := second_text(table, source, task):
        task = task._replace(settings=task.settings | {"data": task.settings["data"] | recipes.two_texts()})
        names = [source.name, second.name]
    else:
        names = source.name
    reader = {"source": names, "target": target.name} | table.settings | task.corpus
    if table.corpus == "Tsv" and reader["source"] == 1 and reader["target"] == 2:
        del reader["source"], reader["target"]
    notes = [f"source {names}, target {target}; others: --source NAME --target NAME", *task.notes]
    read = {str(name) for name in (*as_list(names), target.name, task.corpus.get("sentence"))}
    left = [str(one.name) for one in table.columns if not one.useless and str(one.name) not in read]
    notes += [f"not used: {', '.join(left[:5])}{', ...' * (len(left) > 5)}"] if left else []
    reader.pop("decimal", None)
    return Guess(task.what, {"class_path": table.corpus, "init_args": reader}, task.settings, notes)


def of_forms(source: Column, target: Column, features: Column) -> Guess:
    """Words, their features and their forms."""
    letters, in_order = recipes.letters(source.blocks), order_of(source.texts, target.texts)
    settings = recipes.inflection(letters, bundle_separator(features) or ";", in_order)
    return Guess("word forms from a word and its features", {}, settings)


def with_points(table: FileColumns) -> FileColumns:
    """The table with points in numbers that have decimal commas, where commas do not separate columns."""
    commas = [one for one in table.columns if not one.numeric and one.all_match(columns.COMMA)]
    if not commas or table.settings.get("delimiter", ",") == ",":
        return table
    whole = [Column(one.name, [text.replace(",", ".") for text in one.texts]) if one in commas else one
             for one in table.columns]  # fmt: skip
    return FileColumns(table.corpus, table.settings | {"decimal": ","}, whole)


def second_text(table: FileColumns, source: Column, task: Guess) -> Column | None:
    """The other one of two texts that are classified together."""
    if task.settings["task"] != "Classification":
        return None
    wanted = dict(TOGETHER).get(source.lower)
    return next((one for one in table.columns if one.lower == wanted and not one.useless and not one.lists), None)


def labels_beside(table: FileColumns, source: Column) -> Column | None:
    """A column with a label for each token of another, where a third one has classes of the texts."""
    for one in table.columns:
        if one is source or one.lists is not source.lists or class_beside(table, source, one) is None:
            continue
        if one.lists and all(len(a) == len(b) for a, b in zip(source.values, one.values, strict=True)):
            return one if len({str(label) for value in one.values for label in value}) < 200 else None
        if not one.lists and aligned(source, one):
            return one
    return None


def sides(file: Path, table: FileColumns, asked: Asked) -> tuple[Column, Column | None]:
    """Source and target among the columns."""
    known = {str(column.name): column for column in table.columns}
    two, named = len(table.columns) == 2, {*SOURCE_NAMES, *TARGET_NAMES}
    useful = [one for one in table.columns if not one.useless or ((two or one.lower in named) and one.unordered)]
    source = known.get(asked.source or "")
    target = known.get(asked.target or "")
    rest = [one for one in useful if one not in (source, target)]
    by_name = [
        next((one for name in names for one in rest if one.lower == name), None)
        for names in (SOURCE_NAMES, TARGET_NAMES)
    ]
    source = source or by_name[0]
    target = target or (by_name[1] if by_name[1] is not source else None)
    rest = [one for one in rest if one not in (source, target)]
    if source is not None and target is not None:
        return source, target
    wide = sorted((one for one in rest if not one.few or one.lists), key=lambda one: -one.words)
    if source is not None:
        labels = [one for one in rest if one.few]
        return source, next(iter(labels or wide), None)
    if target is not None and wide:
        return wide[0], target
    if len(rest) == 2:
        first, second = rest
        return (second, first) if first.few and not second.few else (first, second)
    featured = [one for one in rest if is_features(one)]
    if len(rest) == 3 and len(featured) == 1:
        lemma, form = (one for one in rest if one is not featured[0])
        return lemma, form
    if len(rest) == 1:
        return rest[0], None
    labels = [one for one in rest if one.few]
    if len(wide) == 1 and len(labels) == 1:
        return wide[0], labels[0]
    names = ", ".join(str(one.name) for one in table.columns) or "none"
    raise InputError(f"{file}: which columns are source and target? say --source NAME --target NAME; there are {names}")


def is_features(column: Column) -> bool:
    """Whether its values are bundles such as V;PST or Case=Nom|Number=Sing."""
    return bundle_separator(column) is not None


def bundle_separator(column: Column) -> str | None:
    """What stands between the features of a bundle: few ones that come again and again, without spaces."""
    if any(" " in text for text in column.texts):
        return None
    for separator in ";|,":
        features = Counter(one for text in column.texts for one in text.split(separator))
        if any(separator in text for text in column.texts) and 2 * len(features) < features.total():
            return separator
    return None


def features_beside(table: FileColumns, source: Column, target: Column) -> Column | None:
    """A column of morphological features beside two of words."""
    others = [one for one in table.columns if one not in (source, target) and is_features(one)]
    return others[0] if len(others) == 1 and max(source.words, target.words) < 2 else None


def pair(source: Column, target: Column) -> Guess:
    """The task of two columns of text."""
    words = "Characters" if source.unspaced and source.words < 3 else "Words"
    labelled = aligned(source, target)
    separator = None if labelled else separator_in_sets(target)
    if separator in (";", ",", "|"):
        return any_classes(len({one for text in target.texts for one in text.split(separator)}), " ", separator)
    if target.few and not labelled:
        note = f"where {target} has several classes, write them without the space after {(separator or ' ')[0]}"
        notes = [note] if separator else []
        return Guess(f"one of {len(target.counts)} classes for each text", {}, recipes.classification(words), notes)
    if labelled:
        bio = all(BIO.fullmatch(label) for text in target.texts for label in text.split())
        return Guess("a label for each word", {}, recipes.tagging(" ", bio))
    if (task := of_letters(source, target)) is not None:
        return task
    if source.words > 40 and target.words < 0.4 * source.words:
        return Guess("summaries of longer texts", {}, recipes.summarization())
    return Guess("text to text", {}, recipes.translation())


def aligned(source: Column, target: Column) -> bool:
    """Whether targets have a label for each word of their sources; training names rows that have not."""
    rows = [(one.split(), other.split()) for one, other in zip(source.texts, target.texts, strict=True) if one.strip()]
    several = [(words, labels) for words, labels in rows if len(words) == len(labels)]
    if not several or len(several) < LABELLED * len(rows):
        return False
    words, labels = ({unit for row in several for unit in row[side]} for side in (0, 1))
    count = sum(len(one) for one, _ in several)
    return count > 1.5 * len(several) and len(labels) < 0.1 * count and 2 * len(labels) <= len(words)


def separator_in_sets(target: Column) -> str | None:
    """What stands between the classes of texts that have several: most classes are also alone somewhere."""
    for separator in ("|", "; ", ";", ", ", ","):
        sets = [text.split(separator) for text in target.texts]
        counts = Counter(one for several in sets for one in several)
        alone = {several[0] for several in sets if len(several) == 1}
        known = len(counts) <= min(200, counts.total() // 5) and len(counts) < 2 * len(alone)
        if known and sum(len(several) > 1 for several in sets) > 0.05 * len(sets):
            return separator
    return None


def any_classes(count: int, words: str, classes: str) -> Guess:
    """Texts that have several classes; words, classes: what stands between them."""
    settings = recipes.classification("Words", words)
    settings["data"]["target_tokenizer"] = recipes.separated(recipes.LABELS, classes)
    settings["model"] |= {"multi_label": True}
    return Guess(f"any of {count} classes for each text", {}, settings)


def listed(source: Column, target: Column) -> Guess:
    """The task of columns that hold lists."""
    if not target.lists:
        if target.few:
            return Guess(
                f"one of {len(target.counts)} classes for each text", {}, recipes.classification("Words", "\t")
            )
        return Guess("text to text", {"list_separator": " "}, recipes.translation())
    if not source.lists or any(len(one) != len(other) for one, other in zip(source.values, target.values, strict=True)):
        counts = Counter(str(label) for value in target.values for label in value)
        if len(counts) <= 200 and 5 * len(counts) <= counts.total():
            return any_classes(len(counts), "\t" if source.lists else " ", "\t")
        return Guess("text to text", {"list_separator": " "}, recipes.translation())
    labels = {label for value in target.values for label in value}
    names: dict[str, Any] = {}
    notes = []
    if all(isinstance(label, int) for label in labels):
        names = {"label_names": [f"label{number}" for number in range(max(labels) + 1)]}
        notes = ["the labels are numbers: put their names into label_names"]
    bio = all(isinstance(label, str) and BIO.fullmatch(label) for label in labels)
    return Guess("a label for each token", names, recipes.tagging("\t", bio), notes)


def of_spans(file: Path, table: FileColumns, spans: Column, asked: Asked) -> Guess:
    """Texts with labelled spans of characters."""
    texts = [one for one in table.columns if not one.lists and not one.numeric and one is not spans and not one.useless]
    named = next((one for one in texts if str(one.name) == asked.source), None)
    source = named or max(texts, key=lambda one: one.words, default=None)
    if source is None or table.corpus != "Jsonl":
        raise InputError(f"{file}: {spans} holds spans, which are read from JSON lines with a text beside them")
    settings: dict[str, Any] = {"source": source.name, "target": spans.name}
    task = Guess("labelled spans of characters", {}, recipes.tagging("\t", True))
    classes = class_beside(table, source, spans)
    settings |= {"sentence": classes.name} if classes is not None else {}
    return joint(task, classes)._replace(corpus={"class_path": "Spans", "init_args": settings})
