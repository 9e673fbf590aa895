"""The document's derivation: a 2-2-2 sigmoid network, its loss, its eight gradients, its eight updates.

Every line of the document stands here under its own name, in its own order, with `d` for ∂: hold the page beside the
file and read the same formulas. A line is `line(name, operands, formula)`. The other rounded programs that frameworks
are known to run for a line stand in `derivations/document_forms.py` under the same name.
"""

from __future__ import annotations

from gradconform.reference.derivations.document_forms import DOCUMENT as DOCUMENT
from gradconform.reference.derivations.document_forms import line, lines
from gradconform.reference.equations import Derivation

# Forward --------------------------------------------------------------------------------------------------------------
# Erratum: the document prints w1*i_i in h1; i_i is i1.

FORWARD = lines(
    "forward",
    "Forward Propagation",
    line("h1", "w1 i1 w2 i2", lambda ops, w1, i1, w2, i2: w1 * i1 + w2 * i2),
    line("h2", "w3 i1 w4 i2", lambda ops, w3, i1, w4, i2: w3 * i1 + w4 * i2),
    line("a_h1", "h1", lambda ops, h1: ops.sigmoid(h1)),
    line("a_h2", "h2", lambda ops, h2: ops.sigmoid(h2)),
    line("o1", "w5 a_h1 w6 a_h2", lambda ops, w5, a_h1, w6, a_h2: w5 * a_h1 + w6 * a_h2),
    line("o2", "w7 a_h1 w8 a_h2", lambda ops, w7, a_h1, w8, a_h2: w7 * a_h1 + w8 * a_h2),
    line("a_o1", "o1", lambda ops, o1: ops.sigmoid(o1)),
    line("a_o2", "o2", lambda ops, o2: ops.sigmoid(o2)),
    line("E1", "t1 a_o1", lambda ops, t1, a_o1: 0.5 * (t1 - a_o1) ** 2),
    line("E2", "t2 a_o2", lambda ops, t2, a_o2: 0.5 * (t2 - a_o2) ** 2),
    line("E_total", "E1 E2", lambda ops, E1, E2: E1 + E2),
)

# Backward: output weights ---------------------------------------------------------------------------------------------
# The document calls them "hidden layer weights". ∂E_total/∂a_o1 is ∂E1/∂a_o1 since a_o1 has no effect on E2, and
# ∂E_total/∂o1 is the product of the first two factors; the document writes neither on a line of its own, but frameworks
# report both.

OUTPUT_WEIGHTS = lines(
    "backward",
    "gradient of E_total w.r.t. hidden layer weights",
    line("dE1/da_o1", "a_o1 t1", lambda ops, a_o1, t1: a_o1 - t1),
    line("dE2/da_o2", "a_o2 t2", lambda ops, a_o2, t2: a_o2 - t2),
    line("dE_total/da_o1", "dE1/da_o1", lambda ops, dE1_da: dE1_da),
    line("dE_total/da_o2", "dE2/da_o2", lambda ops, dE2_da: dE2_da),
    line("da_o1/do1", "a_o1", lambda ops, a_o1: a_o1 * (1 - a_o1)),
    line("da_o2/do2", "a_o2", lambda ops, a_o2: a_o2 * (1 - a_o2)),
    line("dE_total/do1", "dE_total/da_o1 da_o1/do1", lambda ops, dE_da, da_do: dE_da * da_do),
    line("dE_total/do2", "dE_total/da_o2 da_o2/do2", lambda ops, dE_da, da_do: dE_da * da_do),
    line("do1/dw5", "a_h1", lambda ops, a_h1: a_h1),
    line("do1/dw6", "a_h2", lambda ops, a_h2: a_h2),
    line("do2/dw7", "a_h1", lambda ops, a_h1: a_h1),
    line("do2/dw8", "a_h2", lambda ops, a_h2: a_h2),
    line("dE_total/dw5", "a_o1 t1 a_h1", lambda ops, a_o1, t1, a_h1: (a_o1 - t1) * a_o1 * (1 - a_o1) * a_h1),
    line("dE_total/dw6", "a_o1 t1 a_h2", lambda ops, a_o1, t1, a_h2: (a_o1 - t1) * a_o1 * (1 - a_o1) * a_h2),
    line("dE_total/dw7", "a_o2 t2 a_h1", lambda ops, a_o2, t2, a_h1: (a_o2 - t2) * a_o2 * (1 - a_o2) * a_h1),
    line("dE_total/dw8", "a_o2 t2 a_h2", lambda ops, a_o2, t2, a_h2: (a_o2 - t2) * a_o2 * (1 - a_o2) * a_h2),
)

# Backward: input weights ----------------------------------------------------------------------------------------------
# The document calls them "input layer weights". Erratum: the brackets in its long forms of ∂E_total/∂w3 and
# ∂E_total/∂w4 do not match; the sum over both outputs stands in one bracket, as it does for ∂E_total/∂w1.

INPUT_WEIGHTS = lines(
    "backward",
    "gradient of E_total w.r.t. input layer weights",
    line("do1/da_h1", "w5", lambda ops, w5: w5),
    line("do2/da_h1", "w7", lambda ops, w7: w7),
    line("do1/da_h2", "w6", lambda ops, w6: w6),
    line("do2/da_h2", "w8", lambda ops, w8: w8),
    line("dE1/da_h1", "a_o1 t1 w5", lambda ops, a_o1, t1, w5: (a_o1 - t1) * a_o1 * (1 - a_o1) * w5),
    line("dE2/da_h1", "a_o2 t2 w7", lambda ops, a_o2, t2, w7: (a_o2 - t2) * a_o2 * (1 - a_o2) * w7),
    line("dE1/da_h2", "a_o1 t1 w6", lambda ops, a_o1, t1, w6: (a_o1 - t1) * a_o1 * (1 - a_o1) * w6),
    line("dE2/da_h2", "a_o2 t2 w8", lambda ops, a_o2, t2, w8: (a_o2 - t2) * a_o2 * (1 - a_o2) * w8),
    line("dE_total/da_h1", "dE1/da_h1 dE2/da_h1", lambda ops, dE1_da, dE2_da: dE1_da + dE2_da),
    line("dE_total/da_h2", "dE1/da_h2 dE2/da_h2", lambda ops, dE1_da, dE2_da: dE1_da + dE2_da),
    line("da_h1/dh1", "a_h1", lambda ops, a_h1: a_h1 * (1 - a_h1)),
    line("da_h2/dh2", "a_h2", lambda ops, a_h2: a_h2 * (1 - a_h2)),
    line("dE_total/dh1", "dE_total/da_h1 da_h1/dh1", lambda ops, dE_da, da_dh: dE_da * da_dh),
    line("dE_total/dh2", "dE_total/da_h2 da_h2/dh2", lambda ops, dE_da, da_dh: dE_da * da_dh),
    line("dh1/dw1", "i1", lambda ops, i1: i1),
    line("dh1/dw2", "i2", lambda ops, i2: i2),
    line("dh2/dw3", "i1", lambda ops, i1: i1),
    line("dh2/dw4", "i2", lambda ops, i2: i2),
    line("dE_total/dw1", "dE_total/da_h1 da_h1/dh1 dh1/dw1", lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw),
    line("dE_total/dw2", "dE_total/da_h1 da_h1/dh1 dh1/dw2", lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw),
    line("dE_total/dw3", "dE_total/da_h2 da_h2/dh2 dh2/dw3", lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw),
    line("dE_total/dw4", "dE_total/da_h2 da_h2/dh2 dh2/dw4", lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw),
)

# Update ---------------------------------------------------------------------------------------------------------------
# All eight gradients first, then all eight weights.

WEIGHTS = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8")

UPDATE = lines(
    "update",
    "Gradient Descent",
    line("w1_new", "w1 eta dE_total/dw1", lambda ops, w1, eta, dE_dw1: w1 - eta * dE_dw1),
    line("w2_new", "w2 eta dE_total/dw2", lambda ops, w2, eta, dE_dw2: w2 - eta * dE_dw2),
    line("w3_new", "w3 eta dE_total/dw3", lambda ops, w3, eta, dE_dw3: w3 - eta * dE_dw3),
    line("w4_new", "w4 eta dE_total/dw4", lambda ops, w4, eta, dE_dw4: w4 - eta * dE_dw4),
    line("w5_new", "w5 eta dE_total/dw5", lambda ops, w5, eta, dE_dw5: w5 - eta * dE_dw5),
    line("w6_new", "w6 eta dE_total/dw6", lambda ops, w6, eta, dE_dw6: w6 - eta * dE_dw6),
    line("w7_new", "w7 eta dE_total/dw7", lambda ops, w7, eta, dE_dw7: w7 - eta * dE_dw7),
    line("w8_new", "w8 eta dE_total/dw8", lambda ops, w8, eta, dE_dw8: w8 - eta * dE_dw8),
)

NETWORK = Derivation(
    name="document",
    inputs=("i1", "i2", "t1", "t2"),
    parameters=WEIGHTS,
    rate="eta",
    loss="E_total",
    equations=FORWARD + OUTPUT_WEIGHTS + INPUT_WEIGHTS + UPDATE,
    gradient={w: f"dE_total/d{w}" for w in WEIGHTS},
    updated={w: f"{w}_new" for w in WEIGHTS},
)
