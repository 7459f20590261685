"""From text to tree: the grammar's front end, and the diagnostics every stage reports with.

    parse.py        parse(text) -> File; parse_partial also gives what could be read of a wrong text
    tree.py         the nodes: one frozen dataclass for each construct
    text.py         a tree printed back
    span.py         where a node stands in its text
    diagnostics.py  what is wrong, and how it is drawn under the text
    codes.py        what each diagnostic code means, with an example and its cure (codes_*.py)

Within a parse, in this order: lalr.py (words, and Lark's tables), lines.py (logical lines),
reader.py (line by line through the grammar), build.py and expressions.py (Lark's tree to ours).
When a line cannot be read, trouble.py says where and why, hints.py with foreign.py, letters.py,
declarations.py and placement.py make a sentence of it, and lost.py keeps the names. habits.py knows
what an unknown name was perhaps meant to say.
"""
