"""The paper's claims as data: what the paper says, which tests a claim has, what they predict.

A claim is tested by comparisons over paired seeds, with one data set and one set of initial weights
per seed: each predicts that a method is better than a rival by some measure. Or it is tested by
bounds, which must hold for every single number.
"""

from typing import NamedTuple

from geonet.experiments.claims import measures
from geonet.experiments.claims.measures import Measure


class Evidence(NamedTuple):
    """An experiment with its options, whose runs test claims."""

    experiment: str
    options: dict  # name -> value, as `Experiment.arguments` takes them
    minutes: float  # per seed for all methods and cases, on one core
    figure: str  # which of the experiment's own figures to show
    setting: str  # how it differs from the paper's experiment
    quick: dict = {}  # noqa: RUF012  # options that differ under --quick
    seeds: int = 10
    quick_seeds: int = 3


class Comparison(NamedTuple):
    """A method against a rival by a measure. A control is shown but does not affect verdicts."""

    evidence: str
    method: str
    rival: str
    measure: Measure
    control: bool = False


class Bound(NamedTuple):
    """A number that never exceeds 1, whatever the seed: a largest value divided by its bound."""

    evidence: str
    method: str
    measure: Measure


class Claim(NamedTuple):
    """What the paper says, in our words."""

    title: str
    statement: str
    section: str
    tests: tuple
    why: str  # why the outcome may differ from what the paper says


RIVALS = ("SP", "WN", "BN")  # of GmP in the paper
NORMALIZED = ("WN", "BN", "WN+MBN")


def against(evidence, measure, rivals=RIVALS, method="GmP", control=False):
    """One comparison per rival."""
    return tuple(Comparison(evidence, method, r, measure, control) for r in rivals)


def against_sp(evidence, measure, methods):
    """One comparison with SP per method."""
    return tuple(Comparison(evidence, method, "SP", measure) for method in methods)


FOUR = {"methods": [*RIVALS, "GmP"]}
EQUAL_LR = {"lr": [0.01]}  # one rate for all methods, so that steps can be compared
FRIEDMAN = FOUR | {"sets": ["friedman1", "friedman2", "friedman3"]}
SMALL_SETS = FOUR | {"sets": ["levy", "banana", "friedman"]}
EVIDENCE = {
    "perturbation": Evidence(
        "perturbation", {}, 0.01, "angles", "weights drawn with standard deviation 1e-3"
    ),
    "perturbation-unit": Evidence(
        "perturbation", {"init": "sphere"}, 0.01, "boundaries", "weights of length 1"
    ),
    "levy": Evidence("levy", FOUR, 0.1, "fits", "the data are redrawn for each seed"),
    "levy-paper": Evidence(
        "levy", FOUR | {"protocol": "paper"}, 0.1, "fits",
        "the authors' single data set, and one network per seed",
    ),
    "levy-equal": Evidence(
        "levy", EQUAL_LR, 0.3, "evolution",
        "the data are redrawn, with all methods at the rate 0.01",
    ),
    "banana": Evidence(
        "banana", FOUR, 0.03, "regions",
        "validation data control training, and the data are redrawn; an imitation of the set if "
        "its file is missing",
    ),
    "banana-equal": Evidence(
        "banana", EQUAL_LR, 0.05, "turns", "as banana, with all methods at the rate 0.01"
    ),
    "friedman": Evidence(
        "uci", FRIEDMAN, 0.1, "ratios",
        "Friedman's three functions in place of the UCI sets, which are not included",
    ),
    "friedman-equal": Evidence(
        "uci", FRIEDMAN | EQUAL_LR, 0.1, "ratios",
        "as friedman, with all methods at the rate 0.01",
    ),
    "rates": Evidence(
        "robustness", SMALL_SETS | {"init": ["glorot_uniform"]}, 0.8, "outcomes",
        "training of a few hundred steps at a constant rate on three small sets",
    ),
    "initializers": Evidence(
        "robustness", SMALL_SETS | {"lr": [0.001, 0.01, 0.1]}, 0.8, "outcomes",
        "as rates; nine initializers from normal of scale 0.001 to normal of scale 10",
    ),
    "vgg": Evidence(
        "imagenet32",
        {"methods": [*RIVALS, "GmP", "GmP+IMN"], "width": 0.25, "batch_sizes": "64", "epochs": 10,
         "schedule": "cosine"},
        16.0, "curves_64",
        "a quarter of the channels and ten epochs on 8,000 pictures of ten classes; "
        "drawn ones instead of ImageNet32",
        quick={"epochs": 2, "width": 0.125}, seeds=3, quick_seeds=1,
    ),
    "resnet": Evidence(
        "imagenet", {}, 10.0, "curves",
        "a ResNet-18 of a quarter of the channels, 20 epochs, 2,000 drawn pictures of ten classes",
        seeds=3, quick_seeds=1,
    ),
}  # fmt: skip

RMSE = Measure("test RMSE", "smaller", measures.metric, ("test_rmse",))
ACCURACY = Measure("test accuracy", "larger", measures.metric, ("test_accuracy",))
TOP1 = Measure("validation top-1", "larger", measures.metric, ("test_top1",))
EPOCHS_TO_LEVEL = Measure(
    "epochs to three quarters of the chance loss", "smaller", measures.epochs_to_level
)
LARGEST_LR = Measure("largest rate that trains", "larger", measures.largest_lr)
SHARE_THAT_TRAINS = Measure(
    "share of initializers and rates that train", "larger", measures.share_that_trains
)
TENFOLD_LRS = {"SP": 0.1, "WN": 0.1, "BN": 0.1, "GmP": 1.0}
ERROR_LEFT = Measure(
    "error left at ten times the authors' rate", "smaller", measures.error_left, (TENFOLD_LRS,)
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

LR_NOTE = (
    "The rates are the authors', 0.1 for GmP and 0.01 for the others: what is compared is a "
    "parameterization with its rate, and other rates may suit other methods just as well (the "
    "controls, where there are any, have one rate for all). "
)
CLAIMS = {
    "bounds": Claim(
        "Bounds on the turn",
        "A change ε of the angles of a GmP unit turns its boundary by at most ‖ε‖, and to first "
        "order by √(Σ sₖ² εₖ²); under SP, WN and BN the turn of a unit is only bounded by ‖ε‖/‖w‖.",
        "Section 2",
        (
            *(Bound("perturbation", m, OVER_BOUND) for m in ("GmP", "SP", "WN", "BN")),
            Bound("perturbation", "GmP", FIRST_ORDER),
        ),
        "These are theorems: a violation would be an error in the program.",
    ),
    "instability": Claim(
        "Instability of SP, WN and BN",
        "A little noise on all parameters moves the boundary of a unit under SP, WN and BN far "
        "away, and leaves that of a GmP unit nearly where it was.",
        "Section 2, figure 1",
        against("perturbation", TURN_UNDER_NOISE)
        + against("perturbation-unit", TURN_UNDER_NOISE, control=True),
        "This is a matter of scale: what counts is ε/‖w‖, and the weights here are as small as ε. "
        "For weights of length 1 (the control) the bounds of all methods agree to first order.",
    ),
    "levy": Claim(
        "Levy function, the authors' data",
        "GmP fits the Levy function better than SP, WN and BN.",
        "Experiments, figure 2",
        against("levy-paper", RMSE),
        LR_NOTE + "All seeds share one draw of the data here, so the interval says nothing about "
        "other draws.",
    ),
    "levy-redrawn": Claim(
        "Levy function, data redrawn",
        "GmP fits the Levy function better than SP, WN and BN, whichever points are drawn.",
        "Experiments, figure 2 (one draw there)",
        against("levy", RMSE) + against("levy-equal", RMSE, control=True),
        LR_NOTE + "The authors have one draw of 50 points. If they are redrawn, their positions "
        "matter more than the method, and a network that can place its boundaries anywhere can "
        "also misplace them where there are no points.",
    ),
    "banana": Claim(
        "Banana set",
        "GmP classifies the Banana set better than SP, WN and BN.",
        "Experiments, figure 3",
        against("banana", ACCURACY) + against("banana-equal", ACCURACY, control=True),
        LR_NOTE + "The classes overlap, so all methods come close to the best possible accuracy, "
        "and 200 test points resolve differences of 2 % at best. In the authors' code the test "
        "data also control training.",
    ),
    "regression": Claim(
        "Regression of tables",
        "GmP generalizes better than SP, WN and BN in regression of tables by one hidden layer.",
        "Experiments, table 1",
        against("friedman", RMSE) + against("friedman-equal", RMSE, control=True),
        LR_NOTE + "Friedman's functions are smooth and have little noise, unlike some UCI sets; "
        "`uci --data` runs those.",
    ),
    "rates": Claim(
        "Larger learning rates",
        "A network under GmP trains at larger learning rates than one under SP, WN or BN.",
        "Abstract of the first version",
        against("rates", LARGEST_LR) + against("rates", ERROR_LEFT, control=True),
        "The effect of a rate depends on the size of what it changes: an angle, an offset in units "
        "of the data, or a weight. Under Adam, no rate is too large for the scale of a weight that "
        "batch normalization removes.",
    ),
    "initializers": Claim(
        "Careless initialization",
        "A network under GmP trains from carelessly chosen initial weights where one under SP, WN "
        "or BN does not.",
        "Abstract of the first version",
        against("initializers", SHARE_THAT_TRAINS),
        "The initial scale of the weights does not affect directions and offsets under GmP, but it "
        "does affect the radius and the output layer, which are as large as they are drawn.",
    ),
    "vgg-speed": Claim(
        "VGG-6, speed",
        "A VGG-6 under GmP with input mean normalization converges in fewer epochs than under SP, "
        "WN and BN.",
        "Experiments, figure 4",
        against("vgg", EPOCHS_TO_LEVEL, method="GmP+IMN"),
        LR_NOTE + "The network is narrower and the set smaller than the paper's.",
    ),
    "vgg": Claim(
        "VGG-6, accuracy",
        "A VGG-6 under GmP with input mean normalization generalizes better than under SP, WN and "
        "BN.",
        "Experiments, table 2",
        against("vgg", TOP1, method="GmP+IMN") + against("vgg", TOP1, ("SP", "WN"), control=True),
        LR_NOTE + "The network is narrower, the set smaller and the training shorter than the "
        "paper's, and a batch normalization also regularizes by its noise, which a small set "
        "rewards.",
    ),
    "resnet": Claim(
        "ResNet",
        "A ResNet under GmP with input mean normalization generalizes better than under BN and "
        "WN+MBN.",
        "Experiments, table 3",
        against("resnet", TOP1, ("BN", "WN+MBN"), "GmP+IMN"),
        LR_NOTE
        + "The paper has a ResNet-50 on ImageNet. A small network on drawn pictures says little "
        "about that, in either direction.",
    ),
    "steady": Claim(
        "GmP steadies the boundaries",
        "From the same start and at the same rate, single steps move the boundaries of GmP units "
        "less than those of SP, WN and BN.",
        "Abstract",
        against("levy-equal", MOVE_PER_STEP) + against("banana-equal", TURN_PER_STEP),
        "A step of Adam changes every parameter by about the rate, whatever the parameterization. "
        "In the plane an angle then moves by the rate and a direction under SP by the rate over "
        "‖w‖, which is less as soon as ‖w‖ is larger than 1.",
    ),
    "normalization-steps": Claim(
        "Normalization stabilizes through the boundaries",
        "From the same start and at the same rate, single steps move the boundaries less under "
        "normalizations than under SP.",
        "Abstract of the first version",
        against_sp("levy-equal", MOVE_PER_STEP, NORMALIZED)
        + against_sp("banana-equal", TURN_PER_STEP, NORMALIZED),
        "WN and BN set the direction by a vector of any length, as SP does, and according to the "
        "same paper's theory they are just as unstable. LN couples the units of a layer: its "
        "boundaries are not hyperplanes, so it has no number here.",
    ),
    "normalization-inside": Claim(
        "Normalization keeps boundaries in the data",
        "From the same start, normalizations and GmP leave more of the boundaries inside the data "
        "at the end of training than SP does.",
        "Abstract of the first version",
        against_sp("levy-equal", INSIDE, (*NORMALIZED, "GmP", "GmP+IMN")),
        "Only BN and WN+MBN depend on where the data are. WN has the offset b/|ℓ|, which grows as "
        "ℓ shrinks, just as b/‖w‖ does under SP.",
    ),
    "normalization-dead": Claim(
        "Normalization keeps units alive",
        "From the same start, normalizations and GmP leave fewer dead units than SP does.",
        "Abstract of the first version",
        against_sp("levy-equal", ALIVE, (*NORMALIZED, "GmP", "GmP+IMN")),
        "WN does not depend on where the data are, so its units can leave them as those of SP do; "
        "and the bias of WN+MBN can undo the subtraction of the mean that precedes it.",
    ),
}
