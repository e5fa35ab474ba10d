"""Wide walks where an encoded label is open: see `label_parts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .dfa import Dfa
from .expr import EMPTY, EPSILON
from .label_parts import QUOTE, OpenLabel
from .nodes import ALL_BYTES
from .part import NONE, Part
from .places import NO_UNIT
from .punycode import BYTES
from .vocab import Vocabulary

if TYPE_CHECKING:
    from .parts import Parts


def walk_label(parts: Parts, dfa: Dfa, vocabulary: Vocabulary, label: OpenLabel, nodes: np.ndarray) -> Part:
    """The walk from some nodes where a label is open: no state is made for what might be written."""
    characters = dfa.state(dfa.exprs.repeat(dfa.exprs.byte_set(BYTES.encode()), 0, None))
    behind = dfa.exprs.first(label.tail) | QUOTE
    tokens, exits, entries = [NONE], [NONE], ()
    for node in nodes:
        depth = int(vocabulary.node_depth[node])
        part = parts.part(characters, NO_UNIT, np.array([node], np.int32))
        tokens.append(label.goes_on(vocabulary, parts.tokens_of(part), depth))
        ends = parts.exits_to(part, behind)
        for count, group in label.ends(vocabulary, ends, depth).items():
            over = np.array(group, np.int32)
            if label.tail == EPSILON:
                exits.append(over)
                continue
            after = parts.part(dfa.state(label.behind(dfa.exprs, count)), NO_UNIT, over)
            tokens.append(parts.tokens_of(after))
            exits.append(parts.exits_to(after, ALL_BYTES))
            entries += after.entries
    if label.others != EMPTY:
        instead = parts.part(dfa.state(label.others), NO_UNIT, nodes)
        tokens.append(parts.tokens_of(instead))
        exits.append(parts.exits_to(instead, ALL_BYTES))
        entries += instead.entries
    return parts.of_tokens(np.unique(np.concatenate(tokens)), np.unique(np.concatenate(exits)), entries)
