"""Grammars advanced on the device: look-ups in the automaton's tables, as grammar/kernels.py does them on the host.

What the tables do not hold is not guessed: the sequence stays where it is, with a flag, and the host, which can find
the answer, serves it and adds it to the tables. Kernel and twin; the twin is the host's own loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...grammar import kernels as host
from ...grammar.stacks import LEVELS
from .tiles import HAS_TRITON, need_triton

if TYPE_CHECKING:
    from ...grammar.automaton import Automaton

ADVANCED, NOT_ALLOWED, NO_TRANSITION, NO_ROW = 0, 1, 2, 3
"""What became of a sequence: it moved and its row is known; its token is not allowed, it stays; its transition is not
in the tables, it stays; it moved, but its row is not in the tables."""


class Tables(NamedTuple):
    """The automaton's tables, all int32 but stay (uint8); see grammar/kernels.py for their meaning.

    states (s, 3), stay (r, tokens), keys (c, 3) and values (c,) of transitions, records (t, 6), contexts (k, LEVELS),
    parents (k,), push_keys (p, 3) and push_values (p,), row_keys (w, 3) and row_values (w,). Hash tables are powers of
    two in size.
    """

    states: torch.Tensor
    stay: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    records: torch.Tensor
    contexts: torch.Tensor
    parents: torch.Tensor
    push_keys: torch.Tensor
    push_values: torch.Tensor
    row_keys: torch.Tensor
    row_values: torch.Tensor


def tables_of(automaton: Automaton) -> Tables:
    """The automaton's own arrays, on the CPU; stale once it learns more."""
    stacks = automaton.stacks
    arrays = (
        *(automaton.states, automaton.stay, automaton.transitions.keys, automaton.transitions.values),
        *(automaton.records, stacks.contexts, stacks.parents, stacks.pushed.keys, stacks.pushed.values),
        *(automaton.row_ids.keys, automaton.row_ids.values),
    )
    return Tables(*map(torch.from_numpy, arrays))


def advance(
    sequences: torch.Tensor, slots: torch.Tensor, tokens: torch.Tensor, tables: Tables, widest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advance sequences: the kernel for CUDA tensors, the twin elsewhere. See advance_plain."""
    return (advance_triton if sequences.is_cuda else advance_plain)(sequences, slots, tokens, tables, widest)


def advance_plain(
    sequences: torch.Tensor, slots: torch.Tensor, tokens: torch.Tensor, tables: Tables, widest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move each sequence by its token, and look up the mask row of where it is then. The plain twin of advance_triton.

    sequences: (all slots, 3) int32: state, register, stack; changed in place.  slots, tokens: (n,) int32; a slot comes
    once at most; slot -1: there is no sequence.  widest: units that one token can hold at most.
    Returns row_ids (n,) int32, -1 where it is not known or there is no sequence, and what became of each, (n,) int32.
    """
    _check(sequences, slots, tokens, tables)
    row_ids = torch.full(slots.shape, -1, dtype=torch.int32)
    outcomes = torch.zeros(slots.shape, dtype=torch.int32)
    is_there = slots >= 0
    slots, tokens = slots[is_there], tokens[is_there]
    ok, missed, rows = torch.zeros(len(slots), dtype=torch.bool), torch.empty_like(slots), torch.empty_like(slots)
    places = sequences.numpy()
    (states, stay, keys, values, records, contexts, parents, push_keys, push_values, row_keys, row_values) = (
        each.numpy() for each in tables
    )
    n_missed = host.advance(
        *(slots.numpy(), tokens.numpy(), places, states, stay, keys, values, records, contexts, parents),
        *(push_keys, push_values, ok.numpy(), missed.numpy()),
    )
    became = torch.where(ok, ADVANCED, NOT_ALLOWED).int()
    became[missed[:n_missed].long()] = NO_TRANSITION
    n_missed = host.find_rows(
        slots.numpy(), places, states, widest, contexts, row_keys, row_values, rows.numpy(), missed.numpy()
    )
    rows[missed[:n_missed].long()] = -1
    became[(rows < 0) & (became == ADVANCED)] = NO_ROW
    rows[became == NO_TRANSITION] = -1
    row_ids[is_there], outcomes[is_there] = rows, became
    return row_ids, outcomes


def _check(sequences: torch.Tensor, slots: torch.Tensor, tokens: torch.Tensor, tables: Tables) -> None:
    if sequences.ndim != 2 or sequences.shape[1] != 3 or not sequences.is_contiguous():
        raise ValueError(f"sequences must be (slots, 3), contiguous, not {tuple(sequences.shape)}")
    if slots.shape != tokens.shape or slots.ndim != 1:
        raise ValueError(f"slots and tokens must be (n,), not {tuple(slots.shape)} and {tuple(tokens.shape)}")
    for name, each in (("sequences", sequences), ("slots", slots), ("tokens", tokens), *tables._asdict().items()):
        dtype = torch.uint8 if name == "stay" else torch.int32
        if each.dtype != dtype or not each.is_contiguous():
            raise ValueError(f"{name} must be {dtype} and contiguous, not {each.dtype}")
    for name in ("values", "push_values", "row_values"):
        size = len(getattr(tables, name))
        if size & (size - 1):
            raise ValueError(f"{name} has {size} places; a hash table has a power of two")


def advance_triton(
    sequences: torch.Tensor, slots: torch.Tensor, tokens: torch.Tensor, tables: Tables, widest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """advance_plain as one kernel. Raises ImportError where triton is not installed."""
    need_triton("advancing grammars")
    _check(sequences, slots, tokens, tables)
    row_ids, outcomes = torch.empty_like(slots), torch.empty_like(slots)
    if len(slots):
        advance_kernel[(len(slots),)](
            sequences,
            slots,
            tokens,
            *tables,
            row_ids,
            outcomes,
            tables.stay.shape[1],
            len(tables.values) - 1,
            len(tables.push_values) - 1,
            len(tables.row_values) - 1,
            widest,
            LEVELS=LEVELS,
            num_warps=1,
        )
    return row_ids, outcomes


if HAS_TRITON:
    import triton
    import triton.language as tl

    jit: Any = triton.jit  # a launch takes more arguments than the function

    MISSING = tl.constexpr(host.MISSING)
    DEEPER = tl.constexpr(host.DEEPER)

    @jit
    def find(keys, values, a, b, c, last):
        """The value of the key (a, b, c), or MISSING. last: the size of the table less 1."""
        mixed = a.to(tl.int64) * 0x9E3779B1 + b.to(tl.int64) * 0x85EBCA6B + c.to(tl.int64) * 0xC2B2AE35
        mixed = mixed ^ (mixed >> 29)
        place = mixed & last
        first = tl.load(keys + 3 * place)
        is_other = (first != a) | (tl.load(keys + 3 * place + 1) != b) | (tl.load(keys + 3 * place + 2) != c)
        while (first != -1) & is_other:
            place = (place + 1) & last
            first = tl.load(keys + 3 * place)
            is_other = (first != a) | (tl.load(keys + 3 * place + 1) != b) | (tl.load(keys + 3 * place + 2) != c)
        return tl.where(first == -1, MISSING, tl.load(values + place))

    @jit
    def look_up(keys, values, a, b, contexts, last, LEVELS: tl.constexpr):
        """The value at the first level of the stack that holds an answer, or MISSING."""
        found = find(keys, values, a, b, tl.load(contexts), last)
        level = 1
        while (found == DEEPER) & (level < LEVELS):
            found = find(keys, values, a, b, tl.load(contexts + level), last)
            level += 1
        return tl.where(found == DEEPER, MISSING, found)

    @jit(do_not_specialize_on_alignment=["slots", "tokens"], do_not_specialize=["last", "push_last", "row_last"])
    def advance_kernel(
        sequences,
        slots,
        tokens,
        states,
        stay,
        keys,
        values,
        records,
        contexts,
        parents,
        push_keys,
        push_values,
        row_keys,
        row_values,
        row_ids,
        outcomes,
        vocab,
        last,
        push_last,
        row_last,
        widest,
        LEVELS: tl.constexpr,
    ):
        """One program: one sequence. Outcomes: 0 advanced, 1 not allowed, 2 no transition, 3 no row."""
        n = tl.program_id(0)
        slot = tl.load(slots + n).to(tl.int64)
        if slot < 0:
            tl.store(row_ids + n, -1)
            tl.store(outcomes + n, 0)
            return
        token = tl.load(tokens + n)
        place = sequences + 3 * slot
        state = tl.load(place)
        register = tl.load(place + 1)
        stack = tl.load(place + 2)
        lo = tl.load(states + 3 * state.to(tl.int64))
        hi = tl.load(states + 3 * state.to(tl.int64) + 1)
        kept = tl.load(states + 3 * state.to(tl.int64) + 2)

        outcome = 1
        if (token >= 0) & (token < vocab):
            units = 255
            if kept >= 0:
                units = tl.load(stay + kept.to(tl.int64) * vocab + token).to(tl.int32)
            if units != 255:
                if units.to(tl.int64) <= hi.to(tl.int64) - register:
                    outcome = 0
                    register = tl.where(hi > 0, register + units, 0)
            else:
                found = look_up(keys, values, state, token, contexts + LEVELS * stack.to(tl.int64), last, LEVELS)
                if found < 0:
                    outcome = 2
                else:
                    record = records + 6 * found.to(tl.int64)
                    after = tl.load(record)
                    units = tl.load(record + 3)
                    goes_on = tl.load(record + 4) == 1
                    counted = register.to(tl.int64) + units
                    if (after >= 0) & (counted <= hi) & (goes_on | (counted >= lo)):
                        left = tl.load(record + 1)
                        onto = stack
                        while left > 0:
                            onto = tl.load(parents + onto)
                            left -= 1
                        pushed = tl.load(record + 2)
                        if pushed > 0:
                            onto = find(push_keys, push_values, onto, pushed, onto * 0, push_last)
                        if onto < 0:
                            outcome = 2
                        else:
                            outcome = 0
                            state = after
                            register = tl.where(goes_on, register + units, tl.load(record + 5))
                            stack = onto
        if outcome == 0:
            tl.store(place, state)
            tl.store(place + 1, register)
            tl.store(place + 2, stack)

        row = -1
        if outcome != 2:
            lo = tl.load(states + 3 * state.to(tl.int64))
            hi = tl.load(states + 3 * state.to(tl.int64) + 1)
            need = tl.minimum(tl.maximum(lo - register, 0), widest + 1)
            room = tl.minimum(hi - register, widest)
            key = need * (widest + 1) + room
            row = look_up(row_keys, row_values, state, key, contexts + LEVELS * stack.to(tl.int64), row_last, LEVELS)
            if (row < 0) & (outcome == 0):
                outcome = 3
        tl.store(row_ids + n, row)
        tl.store(outcomes + n, outcome)
