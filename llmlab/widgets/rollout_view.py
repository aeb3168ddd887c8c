"""`RolloutView`: the answers of a step of RL, what each earned, and what each token is taught."""

from collections.abc import Mapping, Sequence

import traitlets

from llmlab.chat import Sample
from llmlab.core.tokenizer import BPE
from llmlab.widgets.attention_view import sign
from llmlab.widgets.base import Widget, escape, isolated, paper, plain, script, style

ANSWERS = 24  # of a step that are kept
PICTURED = 6  # of them in the static picture
DEPTH = 0.5  # opacity of the deepest wash
# Blue above 0, orange below: told apart by colour-blind readers, and the line under a token tells
# as well.  Washes over the page's own paper, so that its own ink stays legible in dark and light.
ABOVE, BELOW = "0,114,178", "213,94,0"
SCALES = {"advantage": 2.0, "kl": 3.0}  # where the wash is deepest
MEANINGS = {
    "advantage": "advantage: blue tokens are made likelier, orange ones rarer",
    "kl": "KL: log(policy / reference) in nats; blue tokens have become likelier than in the "
    "reference, orange ones rarer",
}


class RolloutView(Widget):
    """Answers of some steps, a row of tokens each, coloured by advantage or by KL.

        RolloutView({1: rollouts, 40: rollouts}, tokenizer)

    steps: step -> its rollouts, in the order in which they are shown; `ANSWERS` of each are kept.
    step: the one on show, at first the last; another number goes to the nearest that is kept.
    colour: "advantage", or "kl".  ValueError where there is no step, or one without answers.
    """

    _esm, _css = script(__file__), style(__file__, "ll-rollouts")

    title = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    colour = traitlets.Enum(tuple(SCALES), "advantage").tag(sync=True)
    _frames = traitlets.List().tag(sync=True)
    _scales = traitlets.Dict(SCALES).tag(sync=True)
    _meanings = traitlets.Dict(MEANINGS).tag(sync=True)

    def __init__(
        self, steps: Mapping[int, Sequence[Sample]], tokenizer: BPE, title: str = "Rollouts"
    ):
        if not steps or not all(steps.values()):
            raise ValueError("There must be a step, and answers in each.")
        encoding = tokenizer.to_tiktoken()
        frames = [
            {"step": step, "answers": [drawn(r, encoding) for r in steps[step][:ANSWERS]]}
            for step in sorted(steps)
        ]
        self._steps = sorted(steps)
        super().__init__(title=plain(title), step=self._steps[-1], _frames=frames)

    @traitlets.validate("step")
    def _kept_step(self, proposal) -> int:
        """The kept step that is nearest to the one asked for."""
        return min(self._steps, key=lambda step: abs(step - proposal["value"]))

    def __repr__(self) -> str:
        means = [f"{mean_reward(frame):.2f}" for frame in (self._frames[0], self._frames[-1])]
        count = len(self._frames)
        return (
            f"RolloutView: {self.title}; {count} step{'' if count == 1 else 's'}, "
            f"mean reward of the answers shown {' to '.join(dict.fromkeys(means))}"
        )

    def _static_html(self) -> str:
        """The step on show, below the first one, coloured as chosen."""
        shown = {f["step"]: f for f in self._frames if f["step"] in (self._steps[0], self.step)}
        parts = [static_frame(frame, self.colour) for frame in shown.values()]
        about = f"{self.title}, coloured by {MEANINGS[self.colour]}"
        return paper(f"<div>{escape(about)}</div>{''.join(parts)}", "font:13px/1.6 sans-serif")


def drawn(rollout: Sample, encoding) -> dict:
    """A rollout as the page draws it; a token is [sign, advantage, log(policy / reference)]."""
    words = [sign(encoding, i) for i in rollout.answer]
    rows = zip(words, rollout.advantage, rollout.log_ratio, strict=True)
    return {
        "request": plain(rollout.request),
        "reward": round(rollout.reward, 3),
        "parts": [[plain(name), round(float(v), 3)] for name, v in rollout.parts.items()],
        "tokens": [[word, round(a, 3), round(d, 3)] for word, a, d in rows],
    }


def mean_reward(frame: dict) -> float:
    return sum(answer["reward"] for answer in frame["answers"]) / len(frame["answers"])


# --- The static picture ---------------------------------------------------------------------


def static_frame(frame: dict, colour: str) -> str:
    """A step's first answers as HTML, each request above its own."""
    parts = [f"<p><b>step {frame['step']:,}</b></p>"]
    request = None
    for answer in frame["answers"][:PICTURED]:
        if answer["request"] != request:
            request = answer["request"]
            parts.append(f"<div>{isolated(request)}</div>")
        at = 1 + list(SCALES).index(colour)
        chips = "".join(chip(token[0], token[at] / SCALES[colour]) for token in answer["tokens"])
        earned = escape(told(answer))
        parts.append(
            f'<div style="margin:2px 0 6px 14px">{chips}<div style="font-size:11px">{earned}</div>'
            "</div>"
        )
    return "".join(parts)


def chip(word: str, depth: float) -> str:
    """A token: washed by `depth` in [-1, 1], underlined in full above 0 and dotted below."""
    share = min(1.0, abs(depth))
    tint, line = (ABOVE, "solid") if depth >= 0 else (BELOW, "dotted")
    width = 0 if share < 0.02 else 1 + round(2 * share)
    style = (
        f"background:rgba({tint},{DEPTH * share:.2f});border-bottom:{width}px {line} rgb({tint})"
    )
    return f'<bdi style="{style};margin-right:1px;padding:0 1px">{escape(word)}</bdi>'


def told(answer: dict) -> str:
    """What an answer earned, and what the judges said: "reward 1.8: asked 1, once 0.8"."""
    parts = ", ".join(f"{name} {value:.3g}" for name, value in answer["parts"])
    return f"reward {answer['reward']:.3g}: {parts}" if parts else f"reward {answer['reward']:.3g}"
