"""The paper's claims as data: what the paper says, where, and which comparisons decide about it.

Each claim has two lists of tests, and each list a verdict of its own: as the paper tests it, and on
equal terms. A test is a comparison over paired seeds, with one data set and one set of initial
weights per seed, which predicts that a method is better than a rival by some measure; or a bound,
which must hold for every single number.

Which comparisons decide was committed before the runs that are reported. Those that explain are
shown, and never decide. They are measures that were seen to favour somebody before they were chosen
(the distance of 0.25 of the near RMSE of Levy), and controls that say where an effect comes from.
"""

from typing import NamedTuple

from geonet.experiments.claims import measures
from geonet.experiments.claims.measures import TOP1_LEVEL, Measure

CHOSEN, AUTHORS = "chosen", "authors'"  # rates: the best on validation data; those of the paper


class Evidence(NamedTuple):
    """An experiment with its options, whose runs test claims."""

    experiment: str
    options: str  # as on the command line
    full: str  # those that are added without --quick
    minutes: tuple  # per seed, for all methods, rates and cases, on one core: full and quick
    figure: str  # which of the experiment's own figures to show
    setting: str  # how it differs from the paper's experiment
    seeds: int = 20
    quick_seeds: int = 6


class Comparison(NamedTuple):
    """A method against a rival by a measure. One that explains is shown but never decides."""

    evidence: str
    method: str
    rival: str
    measure: Measure
    lr: object = CHOSEN  # or AUTHORS, or a number: one rate for both
    explains: bool = False
    case: tuple = ()  # (field, value) of the runs; all cases, by their geometric mean, without it


class Bound(NamedTuple):
    """A number that never exceeds 1, whatever the seed: a largest value divided by its bound."""

    evidence: str
    method: str
    measure: Measure
    explains = False  # a bound always decides


class Claim(NamedTuple):
    """What the paper says, in our words."""

    title: str
    statement: str
    version: str  # of the paper that says so: v1 (May 2023), v5 (NeurIPS 2024)
    section: str
    as_paper: tuple  # of Comparison or Bound
    on_equal_terms: tuple
    why: str  # how to read the outcome


RIVALS = ("SP", "WN", "BN")  # of GmP in the paper
NORMALIZED = ("WN", "BN", "WN+MBN")


def against(evidence, measure, rivals=RIVALS, method="GmP", **options):
    """One comparison per rival."""
    return tuple(Comparison(evidence, method, r, measure, **options) for r in rivals)


def against_sp(evidence, measure, methods=NORMALIZED, **options):
    """One comparison with SP per method."""
    return tuple(Comparison(evidence, method, "SP", measure, **options) for method in methods)


FOUR = "--methods SP,WN,BN,GmP"
FIVE = "--methods SP,WN,BN,WN+MBN,GmP"
CARELESS = {  # start -> (options, words)
    "hidden-0.001": ("--init-hidden normal:0.001", "hidden weights of scale 0.001"),
    "hidden-10": ("--init-hidden normal:10", "hidden weights of scale 10"),
    "all-0.001": ("--init normal:0.001", "all weights of scale 0.001"),
}
LEVY_PAPER, LEVY = "the authors' data, one network per seed", "the data are redrawn for each seed"
VGG = "--methods SP,WN,BN,GmP+IMN --width 0.125 --batch-sizes 64"
EVIDENCE = {
    "perturbation": Evidence(
        "perturbation", "", "", (0.01, 0.01), "angles",
        "weights of scale 0.001 as in the authors' code, drawn anew for each seed",
    ),
    "perturbation-unit": Evidence(
        "perturbation", "--init sphere", "", (0.01, 0.01), "boundaries", "weights of length 1"
    ),
    "levy-paper": Evidence(
        "levy", f"--protocol paper --lr 0.01,0.1,0.3,1 {FOUR}", "", (0.4, 0.16), "fits", LEVY_PAPER
    ),
    "levy": Evidence("levy", f"--lr 0.01,0.1,0.3,1 {FIVE}", "", (0.5, 0.15), "evolution", LEVY),
    **{
        f"levy{terms}-{start}": Evidence(
            "levy", f"{protocol}{option} --lr 0.01,0.1 {FOUR}", "", (0.25, 0.07), "fits",
            f"{setting}, {words}",
        )
        for terms, protocol, setting in (("-paper", "--protocol paper ", LEVY_PAPER),
                                         ("", "", LEVY))
        for start, (option, words) in CARELESS.items()
    },
    "banana-paper": Evidence(
        "banana", f"--protocol paper {FOUR}", "", (0.03, 0.02), "regions",
        "an imitation of the set where its file is not given",
    ),
    "banana": Evidence(
        "banana", f"--lr 0.01,0.1,0.3 {FIVE}", "", (0.1, 0.16), "turns",
        "points redrawn for each seed, and validation data that steer training",
    ),
    "uci-paper": Evidence(
        "uci", f"--protocol paper {FOUR}", "", (0.6, 0.4), "ratios",
        "Friedman's three functions where the UCI sets are not given", 20, 3,
    ),
    "uci": Evidence(
        "uci", f"--lr 0.01,0.1 {FOUR}", "", (2.0, 0.6), "ratios",
        "as uci-paper, with standardized targets and validation data that steer training", 20, 3,
    ),
    "vgg-paper": Evidence(
        "imagenet32", f"{VGG} --protocol paper", "--epochs 15",
        (9.0, 1.5), "curves_64",
        "an eighth of the channels, and 10 classes; drawn pictures where none are given", 6, 1,
    ),
    "vgg": Evidence(
        "imagenet32", VGG, "--epochs 15", (9.0, 1.5), "curves_64",
        "as vgg-paper, with the same start under every method, and steered by training", 6, 1,
    ),
    "resnet-paper": Evidence(
        "imagenet", "--protocol paper", "", (10.0, 1.0), "curves",
        "a ResNet-18 of a quarter of the channels, on drawn pictures of ten classes", 6, 1,
    ),
    "resnet": Evidence(
        "imagenet", "", "", (10.0, 1.0), "curves",
        "as resnet-paper, on the terms of this project", 6, 1,
    ),
}  # fmt: skip

RMSE = Measure("test RMSE", "smaller", measures.metric, ("test_rmse",))
NEAR_RMSE = Measure(
    "RMSE within 0.25 of a training point", "smaller", measures.metric, ("near_rmse",)
)
TRAIN_MAE = Measure("training MAE", "smaller", measures.metric, ("train_mae",))
LARGEST_JUMP = Measure("largest jump of φ in a step", "smaller", measures.metric, ("largest_jump",))
CALM_STEPS = Measure(
    "share of steps without a jump of φ above 1", "larger", measures.without, ("share_of_jumps",)
)
ACCURACY = Measure("test accuracy", "larger", measures.metric, ("test_accuracy",))
TOP1 = Measure("test top-1", "larger", measures.metric, ("test_top1",), pictures=True)
EPOCHS_TO_LEVEL = Measure(
    f"epochs to a validation top-1 of {TOP1_LEVEL}", "smaller", measures.epochs_to_level
)
OVER_BOUND = Measure(
    "largest turn over its bound", "smaller", measures.metric, ("largest_turn_over_bound",)
)
FIRST_ORDER = Measure("|turn − √(Σ sₖ² εₖ²)| over ‖ε‖₁²", "smaller", measures.first_order_excess)
TURN_UNDER_NOISE = Measure(
    "turn in radians at ε = 0.001", "smaller", measures.metric, ("turn_0.001",)
)
MOVE_PER_STEP = Measure(
    "move of φ per step, 90 % of units", "smaller", measures.moves, ("displacement",)
)
TURN_PER_STEP = Measure("turn per step, 90 % of units", "smaller", measures.moves, ("turn",))
INSIDE = Measure("share of boundaries inside the data at the end", "larger", measures.inside)
ALIVE = Measure("share of units alive at the end", "larger", measures.alive)

THEOREMS = (
    *(Bound("perturbation", method, OVER_BOUND) for method in ("GmP", *RIVALS)),
    Bound("perturbation", "GmP", FIRST_ORDER),
)
AUTHORS_RATES = "The authors' rates are 0.1 for GmP and 0.01 for the others. "
NO_CHOICE = "They stay on equal terms, too, as there are no third pictures to choose others on. "
SMALL_NETWORK = (
    "The network is narrower, the set smaller and the training shorter than the paper's, which "
    "says little about ImageNet in either direction. "
)
CLAIMS = {
    "bounds": Claim(
        "Bounds on the turn",
        "A change ε of the angles of a GmP unit turns its boundary by at most ‖ε‖, and to first "
        "order by √(Σ sₖ² εₖ²); under SP, WN and BN the turn of a unit is only bounded by ‖ε‖/‖w‖.",
        "v1, v5", "section 2", THEOREMS, THEOREMS,
        "These are theorems, which hold on all terms: a violation would be an error in the "
        "program.",
    ),
    "instability": Claim(
        "Instability of SP, WN and BN",
        "A little noise on all parameters moves the boundary of a unit under SP, WN and BN far "
        "away, and leaves that of a GmP unit nearly where it was.",
        "v1, v5", "figure 1",
        against("perturbation", TURN_UNDER_NOISE),
        against("perturbation-unit", TURN_UNDER_NOISE),
        "It is a matter of scale: what counts is ε/‖w‖, and the paper's weights are as small as ε. "
        "For weights of length 1 the bounds of all methods agree to first order.",
    ),
    "levy": Claim(
        "Levy function",
        "GmP fits the Levy function better than SP, WN and BN.",
        "v1, v5", "figure 2",
        against("levy-paper", RMSE, lr=AUTHORS)
        + against("levy-paper", RMSE, lr=0.1, explains=True)
        + against("levy-paper", RMSE, lr=0.01, explains=True),
        against("levy", RMSE)
        + against("levy", NEAR_RMSE, explains=True)
        + against("levy", TRAIN_MAE, explains=True)
        + against("levy", RMSE, lr=0.1, explains=True)
        + against("levy", RMSE, lr=0.01, explains=True),
        AUTHORS_RATES + "All seeds share one draw of 50 points in the paper's test, so its "
        "interval says nothing about other draws. If the points are redrawn, 27 % of the test "
        "points lie farther than 0.25 from all training points, where nothing can know the "
        "function.",
    ),
    "jumps": Claim(
        "Jumps of the boundaries",
        "At the rate 0.1 for all methods, boundaries under SP, WN and BN jump far in single steps, "
        "and those of GmP units never do.",
        "v1, v5", "figure 2c",
        against("levy-paper", LARGEST_JUMP, lr=0.1) + against("levy-paper", CALM_STEPS, lr=0.1),
        against("levy", LARGEST_JUMP, lr=0.1) + against("levy", CALM_STEPS, lr=0.1),
        "A jump is |φₜ₊₁ − φₜ|, and the largest over units and steps counts. φ = −b/w is unbounded "
        "as a weight crosses 0, while the offset of a GmP unit moves by about the rate.",
    ),
    "banana": Claim(
        "Banana set",
        "GmP classifies the Banana set better than SP, WN and BN.",
        "v1, v5", "figure 3",
        against("banana-paper", ACCURACY, lr=AUTHORS),
        against("banana", ACCURACY)
        + against("banana", ACCURACY, lr=0.1, explains=True)
        + against("banana", ACCURACY, lr=0.01, explains=True),
        AUTHORS_RATES + "The classes overlap, so all methods come close to the best possible "
        "accuracy, and 200 test points resolve differences of 2 % at best.",
    ),
    "regression": Claim(
        "Regression of tables",
        "GmP generalizes better than SP, WN and BN in regression of tables by one hidden layer.",
        "v1, v5", "table 1",
        against("uci-paper", RMSE, lr=AUTHORS),
        against("uci", RMSE)
        + against("uci", RMSE, lr=0.1, explains=True)
        + against("uci", RMSE, lr=0.01, explains=True),
        AUTHORS_RATES + "A comparison is of the geometric mean over the sets; the tables have each "
        "set, with medians and the share of stuck runs beside means. Under the authors' terms the "
        "stopping rule can end a run before a small rate has left a plateau: on energy, stuck runs "
        "make most of the lead over SP. The row naval measures the schedule: its squared errors "
        "lie far below the rule's threshold of 1e-4, so the rate is divided by ten every 50 "
        "epochs. Where one batch makes an epoch, as on yacht, the running statistics of BN lag "
        "behind its weights, and its error is that of the lag.",
    ),
    "rates": Claim(
        "Larger learning rates",
        "GmP allows larger learning rates than SP, WN and BN.",
        "v1", "abstract",
        against("levy-paper", RMSE, lr=0.3) + against("levy-paper", RMSE, lr=1.0),
        against("levy", RMSE)
        + against("levy", RMSE, lr=0.3, explains=True)
        + against("levy", RMSE, lr=1.0, explains=True),
        "Each rate is trained to the end by the full schedule, which lowers it. As the paper says "
        "it: test error at 0.3 and 1 under every method. On equal terms: what the best rate of "
        "each method, chosen on validation data from 0.01, 0.1, 0.3 and 1, gives in the end.",
    ),
    "initializers": Claim(
        "Careless initialization",
        "GmP trains from carelessly chosen initial weights where SP, WN and BN do not.",
        "v1", "abstract",
        tuple(c for start in CARELESS for c in against(f"levy-paper-{start}", RMSE)),
        tuple(c for start in CARELESS for c in against(f"levy-{start}", RMSE)),
        "Three starts: only the hidden weights drawn with scale 0.001 or 10, or all weights with "
        "scale 0.001; each method at its validation-chosen rate of 0.01 and 0.1. Directions and "
        "offsets under GmP do not depend on the scale, but radius and output layer do.",
    ),
    "vgg-speed": Claim(
        "VGG-6, speed",
        "A VGG-6 under GmP with input mean normalization converges in fewer epochs than under SP, "
        "WN and BN.",
        "v1, v5", "figure 4",
        against("vgg-paper", EPOCHS_TO_LEVEL, method="GmP+IMN"),
        against("vgg", EPOCHS_TO_LEVEL, method="GmP+IMN"),
        AUTHORS_RATES + NO_CHOICE + SMALL_NETWORK + "In the authors' code the "
        "methods start at different scales, and a run that never reaches the level counts as one "
        "epoch more than there are.",
    ),
    "vgg": Claim(
        "VGG-6, accuracy",
        "A VGG-6 under GmP with input mean normalization generalizes better than under SP, WN and "
        "BN.",
        "v1, v5", "table 2",
        against("vgg-paper", TOP1, method="GmP+IMN"),
        against("vgg", TOP1, method="GmP+IMN"),
        AUTHORS_RATES + NO_CHOICE + SMALL_NETWORK + "Batch normalization also "
        "regularizes by its noise, which a small set rewards.",
    ),
    "resnet": Claim(
        "ResNet",
        "A ResNet under GmP with input mean normalization generalizes better than under BN and "
        "WN+MBN.",
        "v1 (ResNet-50), v5 (ResNet-18)", "table 3",
        against("resnet-paper", TOP1, ("BN", "WN+MBN"), "GmP+IMN"),
        against("resnet", TOP1, ("BN", "WN+MBN"), "GmP+IMN"),
        AUTHORS_RATES + NO_CHOICE + SMALL_NETWORK + "The authors' code has a ResNet-34.",
    ),
    "steady": Claim(
        "GmP steadies the boundaries",
        "Single steps of training move the boundaries of GmP units less than those of SP, WN and "
        "BN.",
        "v1, v5", "abstract",
        against("levy-paper", MOVE_PER_STEP, lr=AUTHORS)
        + against("banana-paper", TURN_PER_STEP, lr=AUTHORS),
        tuple(c for lr in (0.01, 0.1) for c in against("levy", MOVE_PER_STEP, lr=lr)
              + against("banana", TURN_PER_STEP, lr=lr)),
        "Equal terms are the same start and the same rate, 0.01 or 0.1. A step of Adam changes "
        "every parameter by about the rate. In the plane an angle then moves by the rate and a "
        "direction under SP by the rate over ‖w‖, which is less as soon as ‖w‖ is larger than 1.",
    ),
    "normalization": Claim(
        "Normalization steadies the boundaries",
        "Normalization stabilizes training because it steadies the boundaries: single steps move "
        "them less under WN, BN and WN+MBN than under SP. The final version says otherwise, that "
        "WN and BN are unstable too: see the claims on instability and on jumps.",
        "v1 (v5 denies it)", "abstract",
        against_sp("levy-paper", MOVE_PER_STEP, ("WN", "BN"), lr=AUTHORS)
        + against_sp("banana-paper", TURN_PER_STEP, ("WN", "BN"), lr=AUTHORS),
        against_sp("levy", MOVE_PER_STEP, lr=0.01)
        + against_sp("banana", TURN_PER_STEP, lr=0.01)
        + against_sp("levy", INSIDE, (*NORMALIZED, "GmP"), lr=0.01, explains=True)
        + against_sp("levy", ALIVE, (*NORMALIZED, "GmP"), lr=0.01, explains=True),
        "WN and BN set the direction by a vector of any length, as SP does. Only BN and WN+MBN "
        "depend on where the data are, and so keep boundaries and units among them; the offset of "
        "WN, b/|ℓ|, grows as ℓ shrinks, just as b/‖w‖ does under SP.",
    ),
}  # fmt: skip

SLIPS = (  # where, what the authors' code does, and what that changes
    ("figure 1", "takes θ from arccos(w₁/‖w‖), which drops the sign of w₂",
     "A boundary with w₂ < 0 is drawn as its mirror image, and a turn across the axis looks "
     "smaller than it is. Turns here are angles between directions."),
    ("figure 3", "draws the boundaries of WN with the output layer's bias as the offset of all "
     "units", "The WN panel shows boundaries that the network does not have. Accuracies are not "
     "affected."),
    ("inverse map", "takes √(xₙ²) in the last angle", "Half of all directions come back mirrored, "
     "so a GmP network made from given weights is another function. One that draws its own "
     "weights starts equally well."),
    ("BN, WN+MBN", "has a bias before the mean is subtracted", "It cancels and gets no gradient: "
     "only the count of parameters is larger. WN+MBN is left without any bias, so its boundaries "
     "pass through the mean of the batch."),
    ("convolutions", "takes O as the fan-out of GmP and WN, and 9·O for SP and BN (Keras)",
     "The methods start at different scales: after six layers, activations of 0.005 under SP and "
     "0.08 under GmP. See the claims on VGG-6, under both starts."),
    ("residual networks", "has r inside the ReLU, ReLU(r (u·x + λ))", "The same function while "
     "r > 0. For r < 0 the unit is active on the other half-space, where ours is negated."),
    ("training", "restores the best weights only if the early stop was reached (Keras 2.8), and "
     "for ImageNet not at all", "Runs that last to the end report their last weights."),
)  # fmt: skip
