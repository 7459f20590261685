"""From text to tree: the grammar's front end, and the diagnostics every stage reports with.

    parse.py        parse(text) -> File; parse_partial also gives what could be read of a wrong text
    tree.py         the nodes: one frozen dataclass for each construct
    span.py         where a node stands in its text
    diagnostics.py  what is wrong, and how it is drawn under the text
    codes.py        what each diagnostic code means, with an example and its cure

Inside: lalr.py (Lark), lines.py (logical lines), build.py (Lark's tree to ours), hints.py and
letters.py (from "unexpected token" to a sentence that teaches).
"""
