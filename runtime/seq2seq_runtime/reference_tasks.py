"""What the tasks of seq2seq make of the network of `reference.py`: beam search, labels, classes, forecasts."""

from typing import NamedTuple

import numpy as np

from seq2seq_runtime.reference import LEAST, NEVER, Array, Reference, Source, log_softmax

END = 3


class Rules(NamedTuple):
    """How to search: the hypotheses kept, the most tokens with the end and the fewest without, how they are ranked."""

    size: int
    limit: int
    least: int
    penalty: float
    offset: float

    def divisor(self, length: int) -> float:
        """What the log-probability of so many tokens is divided by; with offset 5 Wu et al. 2016, eq. 14."""
        scaled = (self.offset + length) / (self.offset + 1) if self.offset else float(length)
        return float(scaled**self.penalty)


class Found(NamedTuple):
    """A hypothesis."""

    score: float
    tokens: list[int]
    """Without the end."""
    token_scores: list[float]


def encoded(network: Reference, ids: Array) -> tuple[Source, list[Array]]:
    """A source as the decoder sees it, and the decoder's first state: layers, what it is fed, and what it has seen."""
    of, nothing = network.of, np.zeros((1, 0), np.float32)
    if of["condition"]:  # of a generator: the mean of its vectors
        vector = network.embed("source", ids).mean(0, keepdims=True) if len(ids) else nothing
        first = network.bridge([vector[:, None]] * of["states"])
        return Source(ids, nothing, nothing, vector if of["every_step"] else nothing, nothing), [
            *first,
            nothing,
            nothing,
        ]
    states, final, vector = network.encode(network.embed("source", ids))
    keys, values = network.linear("attention.key", states), network.linear("attention.value", states)
    features = network.embed("source", ids[:1])[:, network.w["source.0"].shape[1] :] if of["features"] else nothing
    source = Source(
        ids[::-1] if of["reverse"] else ids, keys, values, vector if of["every_step"] else nothing, features
    )
    seen = np.zeros((1, len(states)), np.float32) if of["attend_from"] != "none" else nothing
    return source, [*network.bridge(final), np.zeros((1, of["fed_size"]), np.float32), seen]


def search(network: Reference, source: Source, state: list[Array], prompt: Array, rules: Rules) -> list[Found]:
    """The best hypotheses after a prompt, which is one token or more, best first. Of one hypothesis: greedy search.

    The best 2 K continuations are ranked; those that end leave, K others live on. It is over when K have ended and none
    that lives ranks higher now, or when none can any more.
    """
    for token in prompt[:-1]:
        _, state = network.step(source, np.array([token]), state)
    state = [np.repeat(tensor, rules.size, 0) for tensor in state]
    last, totals = np.full(rules.size, prompt[-1]), np.array([0.0] + [NEVER] * (rules.size - 1))
    tokens: list[list[int]] = [[]] * rules.size
    scores: list[list[float]] = [[]] * rules.size
    done: list[Found] = []
    for length in range(1, rules.limit + 1):
        log_probs, state = network.step(source, last, state)  # (K, V)
        if length <= rules.least:
            log_probs[:, END] = NEVER
        if length == rules.limit:  # nothing but the end may follow
            ending = np.maximum(log_probs[:, END], LEAST)
            log_probs[:] = NEVER
            log_probs[:, END] = ending
        sums = (totals[:, None] + log_probs).ravel()
        best = np.argsort(-sums, kind="stable")[: 2 * rules.size if rules.size > 1 else 1]
        parents, following = np.divmod(best, log_probs.shape[1])
        grown = [
            (float(sums[k]), p, int(t), [*scores[p], float(log_probs[p, t])])
            for k, p, t in zip(best, parents.tolist(), following.tolist(), strict=True)
            if sums[k] > NEVER
        ]
        done += [Found(total / rules.divisor(length), tokens[p], each) for total, p, t, each in grown if t == END]
        done = sorted(done, key=lambda one: -one.score)[: rules.size]
        alive = [one for one in grown if one[2] != END][: rules.size]
        alive += [(NEVER, 0, END, [])] * (rules.size - len(alive))
        totals, last = np.array([one[0] for one in alive]), np.array([one[2] for one in alive])
        tokens, scores = [[*tokens[p], t] for _, p, t, _ in alive], [one[3] for one in alive]
        state = [tensor[[one[1] for one in alive]] for tensor in state]
        worst = done[-1].score if len(done) == rules.size else NEVER
        settled = worst > NEVER and totals[0] / rules.divisor(length) <= done[0].score
        if settled or totals[0] / rules.divisor(rules.limit) <= worst:
            break
    return done


def labels(network: Reference, ids: Array) -> tuple[list[int], float, Array]:
    """The best labels of S tokens by Viterbi, their log-probability, and that of each (Lample et al. 2016)."""
    emissions = network.linear("labels", network.encode(network.embed("source", ids))[0])  # (S, C)
    start, end, transitions = (network.w[f"labels.{name}"] for name in ("start", "end", "transitions"))
    emissions = emissions if network.of["field"] else log_softmax(emissions)
    best, left, right = start + emissions[0], [start + emissions[0]], [end]
    ways: list[Array] = []
    for now in emissions[1:]:
        arriving = best[:, None] + transitions  # from, to
        ways, best = [*ways, arriving.argmax(0)], arriving.max(0) + now
        left.append(np.logaddexp.reduce(left[-1][:, None] + transitions) + now)
    path = [int((best + end).argmax())]
    for way in ways[::-1]:
        path.insert(0, int(way[path[0]]))
    for now in emissions[:0:-1]:
        right.insert(0, np.logaddexp.reduce(transitions + now + right[0], axis=1))
    total = np.logaddexp.reduce(left[-1] + end)
    each = np.array(left) + np.array(right) - total if network.of["field"] else emissions
    return path, float((best + end).max() - total), each[np.arange(len(path)), path]


def logits(network: Reference, ids: Array) -> Array:
    """(C,) of the classes of a source."""
    result: Array = network.linear("classes", network.encode(network.embed("source", ids))[2])[0]
    return result


def forecasts(network: Reference, values: Array) -> Array:
    """Histories (S, D) to the forecasts (T, D, Q) of each quantile, each step reading the one before."""
    of, newest, spread = network.of, values[-1], np.ones(values.shape[1], np.float32)
    if of["rescale"]:
        spread = np.maximum(values.std(0), 1e-3)
    known = (values - newest) / spread if of["relative"] != "none" else values
    states, final, _ = network.encode(network.embed("source", known))
    state, middle, width = network.bridge(final), of["middle"], of["width"]
    keys, unseen = network.linear("attention.key", states), np.zeros((1, len(states)), np.float32)
    source = Source(values, keys, network.linear("attention.value", states), newest, newest)
    before, found = np.zeros(width, np.float32), []
    gain, shift = network.w["gain"], network.w["shift"]
    if of["relative"] == "none" and len(gain):
        before = newest * gain + shift
    for time in range(of["horizon"]):
        base = known[time % of["season"] - of["season"]] if of["relative"] == "season" else np.zeros(width, np.float32)
        x = np.tanh(network.linear("forecaster", np.concatenate((before, base))[None]))
        after = []
        for layer in range(of["decoder_layers"]):
            after.append(network.cell(f"decoder.{layer}", x, [tensor[:, layer] for tensor in state]))
            x = after[-1][0] + x if layer + 1 >= of["residual_from"] else after[-1][0]
        state = [np.stack(tensors, 1) for tensors in zip(*after, strict=True)]
        if of["attend_from"] != "none":
            x = np.concatenate((x, network.attend(x, source, unseen)[0]), -1)
        raw = network.linear("forecasts", x).reshape(width, -1)
        apart = np.logaddexp(0, raw)  # positive distances from the middle
        below = raw[:, [middle]] - apart[:, :middle][:, ::-1].cumsum(1)[:, ::-1]
        above = raw[:, [middle]] + apart[:, middle + 1 :].cumsum(1)
        now = np.concatenate((below, raw[:, [middle]], above), 1) + base[:, None]
        found.append(now)
        before = now[:, middle]
    result = np.array(found)
    if of["relative"] == "none":
        return result
    result = result * spread[:, None] + newest[:, None]
    return np.asarray(result * gain[:, None] + shift[:, None]) if len(gain) else result
