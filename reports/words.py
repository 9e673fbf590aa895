"""What the page's marks and words mean, for a reader who meets them for the first time."""

from __future__ import annotations

#: What a cell of the verdict matrix says in a word: its mark, which no other has, the word, and what the legend adds.
MARKS = {
    "conforms": ("✓", "conforms", "right, within the allowance, digits certified"),
    "mostly-uncertified": ("◑", "mostly uncertified", "more than half lost, vacuous or ill-conditioned; hardly a pass"),
    "known": ("●", "known", "a known deviation and no other"),
    "deviates": ("✗", "deviates", "which is a proof"),
    "lost": ("↓", "lost", "another program keeps the digits"),
    "vacuous": ("○", "vacuous", "no digit is certified"),
    "ill-conditioned": ("≈", "ill-conditioned", "one rounding of the inputs takes the digits"),
    "out-of-range": ("∞", "out of range", "the program overflows"),
    "singular": ("∄", "singular", "there is no derivative"),
    "undecided": ("?", "undecided", "4096 bits did not do, or a number left the record"),
    "crashed": ("!", "crashed", "there is no answer"),
    "unsupported": ("–", "unsupported", "the route does not run it"),
}

#: In the order in which a reader meets them.
WORDS = {
    "adapter/route": "The framework, and the way in which it was asked for the gradient: torch/eager is PyTorch by "
    "loss.backward().",
    "case": "A network with its inputs, targets, weights and learning rate, judged in each dtype; or a function that "
    "was verified, at arguments of some shapes.",
    "truth": "The exact value of the formula for the numbers of the case, computed with bounds on its own error. At a "
    "kink, such as relu at 0, it is the set [lo, hi] of the slopes between the one-sided ones; the error is the "
    "distance from that set, 0 inside it.",
    "whole level": "A loss, gradient or updated weight judged from the inputs of the case alone: the roundings of all "
    "equations on the way are allowed for.",
    "step level": "One equation judged by itself, on the operands that the framework reported for it: only its own "
    "roundings are allowed for, so that a small fault shows.",
    "formula": "The first question: is the program that was run, evaluated without rounding, the derivative? Answers: "
    "right; kink (one of the slopes at a kink); singular (there is no derivative); unknown (no program is known); "
    "undefined (the program meets 0·∞ or 0/0 where the derivative exists); wrong, which is a proof.",
    "execution": "The second question: is what was returned within the rounding of that program? Answers: within; "
    "overflow (what the program gives where it overflows); undecided; outside, which is a proof.",
    "accuracy": "The third question: how many digits does the program keep, and could another keep more? Answers: "
    "certified; ill-conditioned; vacuous; lost.",
    "allowance": "The largest error that the roundings of an accepted form of the formula can make.",
    "share": "Error ÷ allowance, of the accepted form that is named. Up to 1 the result is within it; above 1 no "
    "accepted form can give it: it deviates.",
    "ulp": "Unit in the last place: how far apart the numbers of the dtype are where the truth lies. It measures "
    "accuracy and decides nothing. Of a tensor, max ulp is the largest error, and error (ulp) that of the component "
    "which takes most of its allowance. Where no digit is certified neither is in the matrix or the heat map.",
    "certified bits": "So many leading bits of the number a pass vouches for: log₂(|truth| ÷ (allowance + what the "
    "accepted form is off by even without rounding)). Of an updated weight they are those of its step, of a tensor "
    "those of its 2-norm.",
    "conforms": "The formula is right, or gives one of the slopes at a kink; the result is within; digits are "
    "certified.",
    "deviates": "The formula is wrong or undefined, or the result is outside: a proof. The cause, where one is named, "
    "says what is at fault, such as a convention that nobody asked for.",
    "lost": "Right and within, but another program keeps at least 8 bits more; the finding names it. Not counted as a "
    "pass, and no failure unless --fail-on lost asks for it.",
    "ill-conditioned": "Right and within, but one rounding of the inputs would change the result as much: the digits "
    "are not in the question. Not counted as a pass.",
    "vacuous": "Right and within, but the allowance is at least as large as what is judged (0 certified bits or "
    "fewer), and neither lost nor ill-conditioned is proved. Not counted as a pass.",
    "out of range": "The program overflows here, and gave what it gives then.",
    "singular": "The derivative does not exist at these inputs.",
}

#: What to do about a gradient of a function that was verified, by what is to be said of it.
REMEDIES = {
    "wrong": "The backward program, without any rounding, is not the derivative of the function as it ran. Mend the "
    "rule that is named, at its line, and verify it alone: gc.verify(Rule.apply, …). Where no rule is named the notes "
    "say where a value was detached.",
    "undefined": "The backward program meets 0·∞ or 0/0 where there is a derivative, as behind a where() whose other "
    "branch has a pole. Choose the operand before the pole and not the result after it.",
    "outside": "The formula is not at fault: an operation returned what no rounding of its operands gives. It is named "
    "with its line where it is a single one. Compare the routes, and report it to the framework with those operands.",
    "undecided": "Numbers left the record at the line that is named (.item(), NumPy, a callback), or the function does "
    "not answer the same twice. Keep them in arrays, give what changes as an argument, or give a kernel’s definition "
    "by forms=; then verify again.",
    "lost": "Another program keeps the digits; the reason names it where it is known.",
    "vacuous": "No digit is certified. Verify in a wider dtype, at other arguments or in parts, to see whether it is "
    "the program that loses them.",
    "ill-conditioned": "One rounding of the arguments changes the result as much: another program would not help. A "
    "wider dtype does.",
    "out of range": "The program overflows at these arguments. Scale them, use a program that does not, or a wider "
    "dtype.",
    "singular": "There is no derivative at these arguments. Verify beside them.",
    "crashed": "It could not be verified; the reason says what was got and what was expected.",
}
