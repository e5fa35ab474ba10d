"""Who runs next, as plain lists: budgets, order, waiting for a shared prefix, age."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rootform.engine.costs import Prices
from rootform.engine.limits import derive_limits
from rootform.engine.plan import AUTO_TARGET, Candidate, InFlight, Pace, Plan, go_on
from rootform.engine.plan import choose as choose_at


def limits(max_batch=8, prefill_tokens=100):
    return derive_limits(
        context_tokens=1000, page_tokens=1, total_pages=5000, max_batch=max_batch, prefill_tokens=prefill_tokens
    )


def ids(*parts):
    """ids("a", 30, "b", 5): thirty tokens that depend on "a", then five that depend on "b"."""
    runs = [np.full(n, ord(letter), dtype=np.int32) for letter, n in zip(parts[::2], parts[1::2], strict=True)]
    return np.concatenate(runs)


def candidate(key, *parts, cached=0, online=True, namespace=""):
    return Candidate(key, ids(*parts), namespace, cached, online)


def running(key, *parts, computed, prefilling=False, online=True, idle=0, namespace=""):
    return InFlight(key, ids(*parts), namespace, computed, prefilling, online, idle)


# Milliseconds: 2 for any pass, 1 for a decoding token, 0.1 for a prompt token, 0.001 for each token it attends to.
PRICES = Prices(2e-3, 1e-3, 0.0, 1e-4, 0.0, 1e-6)
UNKNOWN = Pace()
FEW = [running(n, "d", 100, computed=99) for n in range(1, 4)]  # 5 ms alone


def choose(waiting, in_flight, within, at=UNKNOWN):
    return choose_at(waiting, in_flight, within, at)


def pace(itl_ms=None, drafted=0.0):
    return Pace(PRICES, None if itl_ms is None else itl_ms / 1e3, drafted=drafted, most_tokens=10_000)


def roomy(max_batch=64):
    return limits(max_batch, prefill_tokens=1000)


def test_decoding_sequences_always_run_and_take_nothing_from_the_prefill_budget():
    plan = choose(
        [candidate(9, "z", 100)],
        [running(1, "a", 50, computed=49), running(2, "b", 50, computed=40)],
        limits(prefill_tokens=60),
        pace(itl_ms=1000),
    )
    assert plan.tokens == {1: 1, 2: 10, 9: 60}
    assert plan.joins == (9,)


def test_prompts_begun_come_before_new_ones():
    plan = choose(
        [candidate(3, "c", 50)],
        [running(1, "a", 80, computed=20, prefilling=True), running(2, "b", 80, computed=0, prefilling=True)],
        limits(prefill_tokens=100),
    )
    assert plan.tokens == {1: 60, 2: 40}
    assert plan.joins == ()


def test_rows_are_bounded():
    plan = choose([candidate(n, chr(n), 5) for n in range(65, 75)], [running(1, "z", 5, computed=4)], limits(4))
    assert plan.joins == (65, 66, 67)


def test_a_prefix_being_computed_is_waited_for():
    waiting = [
        candidate(2, "a", 40, "b", 9),
        candidate(3, "a", 10, "c", 9),
        candidate(4, "a", 40, "d", 9, cached=30),
        candidate(5, "a", 40, "b", 9, namespace="other"),
    ]
    plan = choose(waiting, [running(1, "a", 45, computed=20, prefilling=True)], limits())
    assert plan.waits == {2: 1}  # 3 shares too little, 4 has nearly all of it already, 5 may not know
    assert set(plan.joins) == {3, 4, 5}


def test_among_those_who_join_together_one_computes_for_all():
    plan = choose([candidate(n, "a", 40, chr(n), 3) for n in range(65, 70)], [], limits())
    assert plan.joins == (65,)
    assert plan.waits == dict.fromkeys(range(66, 70), 65)


def test_nobody_waits_for_a_sequence_that_only_decodes():
    plan = choose([candidate(2, "a", 40)], [running(1, "a", 40, computed=39)], limits())
    assert plan.waits == {}


# -- time ---------------------------------------------------------------------------------------------------------


def cost_s(plan, sequences):
    """Of the pass that a plan is for, at PRICES."""
    seconds = PRICES.fixed
    for each in sequences:
        n = plan.tokens.get(each.key, 0)
        before = each.n_cached if isinstance(each, Candidate) else each.n_computed
        begun = isinstance(each, Candidate) or each.prefilling
        seconds += PRICES.prefill(n, before) if begun else PRICES.decode(n, 0)
    return seconds


def test_a_prompt_gets_what_the_target_leaves():
    prompt = candidate(9, "z", 900)
    plan = choose([prompt], FEW, roomy(), pace(itl_ms=25))
    assert cost_s(plan, [*FEW, prompt]) <= 0.025
    more = with_one_more(plan, 9)
    assert cost_s(more, [*FEW, prompt]) > 0.025


def with_one_more(plan, key):
    return type(plan)(plan.joins, {**plan.tokens, key: plan.tokens[key] + 1}, plan.waits)


def test_without_a_target_a_pass_may_take_a_multiple_of_what_decoding_takes():
    prompt = running(9, "z", 900, computed=300, prefilling=True)
    plan = choose([], [*FEW, prompt], roomy(), pace())
    assert 0.95 * AUTO_TARGET * 0.005 < cost_s(plan, [*FEW, prompt]) <= AUTO_TARGET * 0.005


def test_the_more_wait_the_larger_the_pieces_as_far_as_a_full_batch_takes():
    """Without a target. A few fast streams would keep the batch from filling."""
    prompt = running(9, "z", 900, computed=300, prefilling=True)

    def seconds(n_waiting, **target):
        waiting = [candidate(20 + n, chr(200 + n), 500) for n in range(n_waiting)]
        plan = choose(waiting, [*FEW, prompt], roomy(12), pace(**target))
        assert plan.joins == ()
        return cost_s(plan, [*FEW, prompt])

    took = [seconds(n) for n in (0, 3, 9, 30)]
    decode_s = 0.005 - PRICES.fixed
    for s, rows in zip(took, (3, 6, 12, 12), strict=True):
        most = AUTO_TARGET * (PRICES.fixed + decode_s * rows / 3)
        assert 0.9 * most < s <= most
    assert seconds(9, itl_ms=20) == seconds(0, itl_ms=20) < 0.0201


def test_a_machine_that_slows_down_leaves_prompts_some_of_their_time():
    """Without a target prompts keep half of what is left of the time, however slow; with one it is promised."""
    quick = pace().seconds_left(len(FEW), pace().decode_s(FEW), len(FEW))
    for slowness in (1.0, 1.1, 1.5, 2.0, 8.0):
        left = msgspec.structs.replace(pace(), slowness=slowness).seconds_left(len(FEW), pace().decode_s(FEW), len(FEW))
        assert quick / slowness / 2 <= left <= quick / slowness
    prompt = running(9, "z", 900, computed=300, prefilling=True)
    sizes = {}
    for itl_ms in (None, 9):
        for slowness in (1.0, 2.0):
            at = msgspec.structs.replace(pace(itl_ms), slowness=slowness)
            sizes[itl_ms, slowness] = choose([], [*FEW, prompt], roomy(), at).tokens[9]
    assert sizes[None, 1.0] > sizes[None, 2.0] >= 4
    assert sizes[9, 2.0] <= 4 < sizes[9, 1.0]


def test_rows_whose_price_is_not_known_cost_what_a_prompts_tokens_do():
    prompt = running(9, "z", 900, computed=0, prefilling=True)
    waiting = [candidate(20 + n, chr(200 + n), 500) for n in range(20)]
    at = Pace(Prices(fixed=1e-3, prefill_token=1e-4), most_tokens=10_000)
    assert choose([], [*FEW, prompt], roomy(), at).tokens[9] == 10
    assert choose(waiting, [*FEW, prompt], roomy(), at).tokens[9] == 10 + 2 * 20


def test_deeper_in_a_prompt_the_pieces_are_smaller():
    sizes = []
    for computed in (0, 200, 800):
        prompt = running(9, "z", 990, computed=computed, prefilling=True)
        sizes.append(choose([], [*FEW, prompt], roomy(), pace(itl_ms=20)).tokens[9])
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1]


def test_expected_drafts_are_part_of_what_decoding_takes():
    prompt = running(9, "z", 900, computed=0, prefilling=True)
    few = choose([], [*FEW, prompt], roomy(), pace(itl_ms=20, drafted=3.0)).tokens[9]
    assert few < choose([], [*FEW, prompt], roomy(), pace(itl_ms=20)).tokens[9]


def test_a_prompt_gets_on_however_tight_the_target():
    plan = choose([candidate(9, "z", 900)], FEW, roomy(), pace(itl_ms=1))
    assert 0 < plan.tokens[9] <= 16
    assert plan.tokens.keys() == {1, 2, 3, 9}


def test_with_nothing_decoding_there_is_no_limit_of_time():
    waiting = [candidate(8, "y", 500), candidate(9, "z", 500)]
    assert choose(waiting, [], roomy(), pace(itl_ms=1)).tokens == {8: 500, 9: 500}
    offline = [running(1, "a", 50, computed=49, online=False)]
    assert choose(waiting, offline, roomy(), pace(itl_ms=1)).tokens == {1: 1, 8: 500, 9: 500}


def test_pieces_grow_step_by_step_whatever_prices_say():
    free = Pace(Prices(fixed=1e-3), most_tokens=90)
    assert choose([candidate(9, "z", 900)], FEW, roomy(), free).tokens[9] == 90


def test_before_anything_is_known_pieces_are_small():
    assert choose([candidate(9, "z", 900)], FEW, roomy()).tokens[9] == 64


# -- priorities ---------------------------------------------------------------------------------------------------


def test_offline_sequences_decode_in_what_online_ones_leave_and_all_take_their_turn():
    offline = [running(10 + n, "o", 50, computed=49, online=False) for n in range(40)]
    idle = dict.fromkeys((each.key for each in offline), 0)
    longest = 0
    for _ in range(60):
        now = [running(key, "o", 50, computed=49, online=False, idle=n) for key, n in idle.items()]
        plan = choose([], [*FEW, *now], roomy(), pace(itl_ms=9.01))
        assert cost_s(plan, [*FEW, *now]) <= 0.00901
        assert len(plan.tokens) == 3 + 4  # 5 ms of online ones, 4 of others
        idle = {key: 0 if key in plan.tokens else n + 1 for key, n in idle.items()}
        longest = max(longest, *idle.values())
    assert longest == 9


def test_offline_work_gets_on_however_tight_the_target():
    offline = [running(10 + n, "o", 50, computed=49, online=False) for n in range(40)]
    begun = running(60, "p", 400, computed=100, prefilling=True, online=False)
    urgent = candidate(70, "q", 300)
    plan = choose([urgent], [*FEW, *offline, begun], roomy(), pace(itl_ms=1))
    assert sum(each.key in plan.tokens for each in offline) == 3  # of forty in sixteen passes
    assert 0 < plan.tokens[60] <= 16
    assert 0 < plan.tokens[70] <= 16


def test_online_prompts_come_before_offline_ones_begun():
    begun = running(5, "p", 400, computed=100, prefilling=True, online=False)
    waiting = [candidate(8, "q", 350), candidate(9, "r", 50, online=False)]
    plan = choose(waiting, [begun], limits(prefill_tokens=400))
    assert plan.tokens == {8: 350, 5: 50}
    assert plan.joins == (8,)


def test_an_online_request_takes_the_row_of_the_youngest_offline_sequence():
    held = [running(n, chr(64 + n), 50, computed=49, online=n % 2 == 0) for n in range(1, 5)]
    waiting = [candidate(8, "q", 30), candidate(9, "r", 30, online=False)]
    plan = choose(waiting, held, limits(max_batch=4))
    assert plan.gives_way == (3,)
    assert plan.joins == (8,)
    assert plan.tokens == {1: 1, 2: 1, 4: 1, 8: 30}


def test_online_sequences_keep_their_rows():
    held = [running(n, "a", 50, computed=49) for n in range(1, 5)]
    plan = choose([candidate(8, "q", 30)], held, limits(max_batch=4))
    assert (plan.gives_way, plan.joins) == ((), ())


# -- everything ---------------------------------------------------------------------------------------------------

short_rows = st.lists(st.integers(0, 1), min_size=1, max_size=40).map(lambda row: np.array(row, dtype=np.int32))


@given(
    waiting=st.lists(st.tuples(short_rows, st.booleans()), max_size=12),
    prefilling=st.lists(st.tuples(short_rows, st.booleans()), max_size=3),
    decoding=st.lists(st.booleans(), max_size=3),
    rows=st.integers(6, 9),
    budget=st.integers(1, 60),
    itl_ms=st.none() | st.floats(0.1, 50),
)
def test_every_plan_keeps_to_the_limits(waiting, prefilling, decoding, rows, budget, itl_ms):
    candidates = [Candidate(n, row, "", 0, online) for n, (row, online) in enumerate(waiting)]
    candidates.sort(key=lambda each: not each.online)
    begun = [InFlight(100 + n, row, "", 0, True, online) for n, (row, online) in enumerate(prefilling)]
    held = [running(200 + n, "a", 9, computed=8, online=online) for n, online in enumerate(decoding)]
    plan = choose(candidates, [*begun, *held], limits(rows, budget), pace(itl_ms))
    wanted = {each.key: len(each.ids) for each in [*candidates, *begun]}
    assert sum(n for key, n in plan.tokens.items() if key < 200) <= budget
    assert len(begun) + len(held) + len(plan.joins) - len(plan.gives_way) <= rows
    assert all(1 <= n <= wanted.get(key, 1) for key, n in plan.tokens.items())
    assert set(plan.joins) <= plan.tokens.keys()
    assert not plan.waits.keys() & plan.tokens.keys()
    assert not set(plan.gives_way) & plan.tokens.keys()
    assert all(200 + n in plan.tokens for n, online in enumerate(decoding) if online)
    assert not any(each.online for each in [*begun, *held] if each.key in plan.gives_way)
    if candidates or begun or held:
        assert plan.tokens, "something always runs"


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 20), st.integers(0, 30)), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([None, 3, 30]),
    st.floats(0.5, 3.0),
    st.integers(0, 3000),
)
def test_where_all_go_on_the_plan_is_found_without_looking_at_each(rows, online, itl_ms, slowness, prefill_tokens):
    in_flight = [
        running(n, "a", before + left, computed=before, online=online, idle=idle)
        for n, (before, left, idle) in enumerate(rows)
    ]
    at = msgspec.structs.replace(pace(itl_ms, drafted=0.5), slowness=slowness)
    within = limits(prefill_tokens=prefill_tokens + 1)
    n_left, context = sum(each.n_left for each in in_flight), sum(len(each.ids) for each in in_flight)
    found = go_on(n_left, len(in_flight), context, within, at, online=online)
    wanted = choose([], in_flight, within, at)
    assert abs(found - wanted.prompt_tokens) <= 1  # sums are made in another order
    assert wanted == Plan((), {each.key: each.n_left for each in in_flight}, {}, (), wanted.prompt_tokens)
