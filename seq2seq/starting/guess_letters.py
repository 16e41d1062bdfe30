"""Short texts that are read or written symbol by symbol: letters, phones, digits."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from seq2seq.starting import recipes
from seq2seq.starting.columns import Column
from seq2seq.starting.guess_kind import Guess

COMPARED = 1000
"""Rows whose order is looked at."""

LONGEST = 4 * recipes.LONG**2
"""Symbols of a source by those of its target, from which a row is not looked at: the time grows with them."""

IN_ORDER = 0.95
"""Share of the symbols that source and target have in common which stand in the same order: 0.96 to 1 in word forms of
eleven languages and in phones; 0.3 in reversed words."""

COMMON = 0.1
"""Share of a target's symbols that its source has too, from which their order says something."""

NEW = 0.3
"""Share of words that the first half of the rows lacks, from which words are written letter by letter."""

PHRASE = 5
"""Words of a text that may still be a name, a date or a number."""

ONE_EACH = 0.95
"""Share of rows with a symbol for each letter, from which letters are taken to be read one by one."""

UNSEEN = 0.1
"""Share of symbols that the first half of the rows lacks, below which they are known: 0.03 of Chinese sounds."""

SYMBOLS = 400
"""Different symbols that make an alphabet, such as that of phones, and no vocabulary of words."""


def of_letters(source: Column, target: Column) -> Guess | None:
    """The task of two columns of text that are told from symbols; None where from words or their pieces."""
    letters = recipes.letters(source.blocks or target.blocks)
    if is_one_each(source, target):
        return Guess("letters to a symbol each", {}, recipes.transduction(letters, "Words", source.letters, True))
    if is_one_each(target, source):
        return Guess("symbols to a letter each", {}, recipes.transduction("Words", letters, source.words, True))
    if is_symbols(target) and source.words < recipes.LONG:
        targets = [text.split() for text in target.texts]
        if is_symbols(source):
            order = order_of([text.split() for text in source.texts], targets)
            settings = recipes.transduction("Words", "Words", source.words, order)
            return Guess("sequences of symbols to sequences of symbols", {}, settings)
        if 2 * target.words > 3 * source.words:
            settings = recipes.transduction(letters, "Words", source.letters, order_of(source.texts, targets))
            return Guess("words to sequences of symbols, such as phones", {}, settings)
    if (source.words < 1.1 and not source.unspaced) or is_open(source, target):
        order = order_of(source.texts, target.texts)
        what = "words to words" if max(source.words, target.words) < 1.1 else "short texts to short texts"
        return Guess(f"{what}, letter by letter", {}, recipes.transduction(letters, letters, source.letters, order))
    return None


def is_symbols(column: Column) -> bool:
    """Whether its texts are rows of a few short symbols, which come again and again."""
    units = Counter(unit for text in column.texts for unit in text.split())
    few = len(units) < min(SYMBOLS, units.total() / 5)
    return few and column.words > 2 and sum(map(len, units.elements())) < 3 * units.total()


def is_one_each(spelt: Column, read: Column) -> bool:
    """Whether each letter of a text without spaces has a symbol, such as Chinese letters and their sounds."""
    if spelt.words > 1.1 or read.words < 1.5:
        return False
    pairs = zip(spelt.texts, read.texts, strict=True)
    same = sum(len(text.strip()) == len(symbols.split()) for text, symbols in pairs)
    return same >= ONE_EACH * len(spelt.texts) and new_words(read) < UNSEEN


def is_open(source: Column, target: Column) -> bool:
    """Whether short texts have names, dates or the like to tell, which seldom come again."""
    single = length(target) < 1.1 and source.letters < recipes.LONG
    short = max(length(source), length(target)) < PHRASE
    return (single or short) and new_words(target) > NEW


def length(column: Column) -> float:
    """Words of a text in the mean, two letters a word where no spaces are between words."""
    return column.letters / 2 if column.unspaced else column.words


def new_words(column: Column) -> float:
    """Share of the words of the second half of the rows that the first half lacks."""
    half = len(column.texts) // 2
    known = {word for text in column.texts[:half] for word in text.split()}
    words = [word for text in column.texts[half:] for word in text.split()]
    return sum(word not in known for word in words) / max(1, len(words))


def order_of(sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> bool | None:
    """Whether targets keep the order of the symbols that they share with their sources; None where few are shared."""
    shared = ordered = written = 0
    for source, target in islice(zip(sources, targets, strict=True), COMPARED):
        if len(source) * len(target) > LONGEST:
            continue
        shared += sum((Counter(source) & Counter(target)).values())
        ordered += longest_common_subsequence(source, target)
        written += len(target)
    return ordered >= IN_ORDER * shared if shared > COMMON * written else None


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length."""
    row = [0] * (len(other) + 1)
    for symbol in one:
        before = 0
        for at, also in enumerate(other, 1):
            above = row[at]
            row[at] = before + 1 if symbol == also else max(above, row[at - 1])
            before = above
    return row[-1]
