"""Each paper's main claim put to a fair test: one module per paper, and what all of them share.

A module is called as its paper, and holds a dataclass `Options` and a function `reproduce`, as those of
`headct.reproduce` do; `PAPER_page` writes what came of it.
"""
