"""The paper's claims as data: what the paper says, where, and which comparisons decide about it.

Each claim has two lists of tests, and each list a verdict of its own: as the paper tests it, and on
equal terms. A test is a comparison over paired seeds, with one data set and one set of initial
weights per seed, which predicts that a method is better than a rival by some measure; or a bound,
which must hold for every single number.

Which comparisons decide was committed before the runs that are reported. Those that explain are
shown, and never decide. They are measures that were seen to favour somebody before they were chosen
(the distance of 0.25 of the near RMSE of Levy, and the share of its steps with a jump above 1), and
controls that say where an effect comes from.
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
    figures: tuple = ()  # (evidence, name of one of its figures)


RIVALS = ("SP", "WN", "BN")  # of GmP in the paper
NORMALIZED = ("WN", "BN", "WN+MBN")


def against(evidence, measure, rivals=RIVALS, method="GmP", **options):
    """One comparison per rival."""
    return tuple(Comparison(evidence, method, r, measure, **options) for r in rivals)


def at_each_rate(evidence, measure, rivals=RIVALS):
    """GmP+IMN against the rivals at each of the rates that all methods have."""
    return tuple(c for lr in SAME_LRS for c in against(f"{evidence}-{lr:g}", measure, rivals,
                                                       "GmP+IMN"))  # fmt: skip


def against_sp(evidence, measure, methods=NORMALIZED, **options):
    """One comparison with SP per method."""
    return tuple(Comparison(evidence, method, "SP", measure, **options) for method in methods)


SAME_LRS = (0.01, 0.1)  # the authors' rates, here for all methods where none can be chosen
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
        "perturbation", "", "", (0.01, 0.01),
        "weights of scale 0.001 as in the authors' code, drawn anew for each seed",
    ),
    "perturbation-unit": Evidence(
        "perturbation", "--init sphere", "", (0.01, 0.01), "weights of length 1"
    ),
    "levy-paper": Evidence(
        "levy", f"--protocol paper --lr 0.01,0.1,0.3,1 {FOUR}", "", (0.4, 0.16), LEVY_PAPER
    ),
    "levy": Evidence("levy", f"--lr 0.01,0.1,0.3,1 {FIVE}", "", (0.5, 0.15), LEVY),
    **{
        f"levy{terms}-{start}": Evidence(
            "levy", f"{protocol}{option} --lr 0.01,0.1 {FOUR}", "", (0.25, 0.07),
            f"{setting}, {words}",
        )
        for terms, protocol, setting in (("-paper", "--protocol paper ", LEVY_PAPER),
                                         ("", "", LEVY))
        for start, (option, words) in CARELESS.items()
    },
    "banana-paper": Evidence(
        "banana", f"--protocol paper {FOUR}", "", (0.03, 0.02),
        "without the set's own file, points that imitate it",
    ),
    "banana": Evidence(
        "banana", f"--lr 0.01,0.1,0.3 {FIVE}", "", (0.1, 0.16),
        "another split for each seed; validation data steer training",
    ),
    "uci-paper": Evidence(
        "uci", f"--protocol paper {FOUR}", "", (1.2, 0.4),
        "without the sets' files, Friedman's three functions", 20, 3,
    ),
    "uci": Evidence(
        "uci", f"--lr 0.01,0.1 {FOUR}", "", (2.0, 0.6),
        "as uci-paper, with standardized targets; validation data steer training", 20, 3,
    ),
    "vgg-paper": Evidence(
        "imagenet32", f"{VGG} --protocol paper", "--epochs 15",
        (9.0, 1.5),
        "an eighth of the channels, and 10 classes; without files, synthetic pictures", 6, 1,
    ),
    **{
        f"vgg-{lr:g}": Evidence(
            "imagenet32", f"{VGG} --lr {lr:g}", "--epochs 15", (9.0, 1.5),
            f"all methods start equally and have the rate {lr:g}; the training loss steers", 6, 1,
        )
        for lr in SAME_LRS
    },
    "resnet-paper": Evidence(
        "imagenet", "--protocol paper", "--epochs 10", (5.0, 1.0),
        "a ResNet-18 with a quarter of the channels, on synthetic pictures of ten classes", 6, 1,
    ),
    **{
        f"resnet-{lr:g}": Evidence(
            "imagenet", f"--lr {lr:g}", "--epochs 10", (5.0, 1.0),
            f"all methods have the rate {lr:g}; augmentation and schedule are not the authors'",
            6, 1,
        )
        for lr in SAME_LRS
    },
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
    "move of φ per step, 90th percentile of units", "smaller", measures.moves, ("displacement",)
)
TURN_PER_STEP = Measure(
    "turn per step in radians, 90th percentile of units", "smaller", measures.moves, ("turn",)
)
INSIDE = Measure("share of boundaries inside the data at the end", "larger", measures.inside)
ALIVE = Measure("share of units alive at the end", "larger", measures.alive)

THEOREMS = (
    *(Bound("perturbation", method, OVER_BOUND) for method in ("GmP", *RIVALS)),
    Bound("perturbation", "GmP", FIRST_ORDER),
)
SMALL_NETWORK = (
    "The network is narrower, the set smaller and the training shorter than the paper's: this says "
    "little about ImageNet in either direction. "
)
EQUAL_RATES = (
    "On equal terms, all methods have the same rate, 0.01 or 0.1, since no pictures are left to "
    "choose rates on. "
)
OUR_TESTS = "The paper describes no test of this claim: these measures are ours, in its settings. "
CLAIMS = {
    "bounds": Claim(
        "The turn of a boundary is bounded",
        "A change ε of the angles of a GmP unit turns its boundary by at most ‖ε‖, and to first "
        "order by √(Σ sₖ² εₖ²), where sₖ = sin θ₁ ⋯ sin θₖ₋₁. Under SP, WN and BN a change ε of "
        "the vector w can turn it by arcsin(‖ε‖/‖w‖), and by any angle if ‖ε‖ > ‖w‖.",
        "v1, v5", "section 2", THEOREMS, THEOREMS,
        "These are theorems, and hold on all terms: a violation would be an error in the program.",
        (("perturbation", "angles"),),
    ),
    "instability": Claim(
        "Boundaries under SP, WN and BN turn more",
        "A small number ε, added to every parameter, turns the boundary of a unit far under SP, WN "
        "and BN, and hardly under GmP.",
        "v1, v5", "figure 1",
        against("perturbation", TURN_UNDER_NOISE),
        against("perturbation-unit", TURN_UNDER_NOISE),
        "The effect comes from the scale of the weights: ε turns a boundary by about ε/‖w‖, and "
        "the paper's ‖w‖ is about 0.001, as small as ε. The direction is that of the same vector "
        "under SP, WN and BN, so their turns are equal. For ‖w‖ = 1 they are smaller than that of "
        "GmP, by a factor of 0.71 in the geometric mean over all directions, which is the geometry "
        "of adding one number to two weights.",
        (("perturbation", "boundaries"), ("perturbation-unit", "boundaries")),
    ),
    "jumps": Claim(
        "GmP's boundaries jump less",
        "At the rate 0.1 for all methods, boundaries under SP, WN and BN jump farther in single "
        "steps than those of GmP units.",
        "v1, v5", "figure 2c",
        against("levy-paper", LARGEST_JUMP, lr=0.1)
        + against("levy-paper", CALM_STEPS, lr=0.1, explains=True),
        against("levy", LARGEST_JUMP, lr=0.1) + against("levy", CALM_STEPS, lr=0.1, explains=True),
        "A jump is |φₜ₊₁ − φₜ|, and the largest over units and steps counts. φ = −b/w is unbounded "
        "as a weight crosses 0, while the offset of a GmP unit moves by about the rate.",
        (("levy-paper", "jumps"),),
    ),
    "steady": Claim(
        "GmP steadies boundaries in training",
        "Single steps of training move the boundaries of GmP units less than those of SP, WN and "
        "BN.",
        "v1, v5", "abstract",
        against("levy-paper", MOVE_PER_STEP, lr=AUTHORS)
        + against("banana-paper", TURN_PER_STEP, lr=AUTHORS),
        tuple(c for lr in SAME_LRS for c in against("levy", MOVE_PER_STEP, lr=lr)
              + against("banana", TURN_PER_STEP, lr=lr)),
        OUR_TESTS + "Equal terms are the same start and the same rate, 0.01 or 0.1. A step of Adam "
        "changes every parameter by about the rate. In the plane an angle then moves by the rate, "
        "and a direction under SP by the rate over ‖w‖: GmP is steadier only while ‖w‖ < 1.",
        (("banana-paper", "turns"),),
    ),
    "normalization": Claim(
        "Normalization steadies boundaries in training",
        "Normalization stabilizes training because it steadies the boundaries: single steps move "
        "them less under WN, BN and WN+MBN than under SP.",
        "v1 (v5 denies it)", "abstract",
        against_sp("levy-paper", MOVE_PER_STEP, ("WN", "BN"), lr=AUTHORS)
        + against_sp("banana-paper", TURN_PER_STEP, ("WN", "BN"), lr=AUTHORS),
        against_sp("levy", MOVE_PER_STEP, lr=0.01)
        + against_sp("banana", TURN_PER_STEP, lr=0.01)
        + against_sp("levy", INSIDE, (*NORMALIZED, "GmP"), lr=0.01, explains=True)
        + against_sp("levy", ALIVE, (*NORMALIZED, "GmP"), lr=0.01, explains=True),
        OUR_TESTS + "The final version says that WN and BN are unstable, too: see the claims on "
        "turns and on jumps. WN and BN set the direction by a vector of any length, as SP does. "
        "Only BN and WN+MBN depend on where the data are; the offset of WN, b/|ℓ|, grows as ℓ "
        "shrinks, just as b/‖w‖ does under SP.",
    ),
    "levy": Claim(
        "GmP fits the Levy function better",
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
        "All seeds share one draw of 50 points in the paper's test, so its interval says nothing "
        "about other draws. If the points are redrawn, more than a quarter of the test points lie "
        "farther than 0.25 from all training points, where nothing can know the function. Straight "
        "lines between training points need no network: their errors are printed below the tables "
        "of the experiments.",
        (("levy-paper", "fits"),),
    ),
    "banana": Claim(
        "GmP classifies the Banana set better",
        "GmP classifies the Banana set better than SP, WN and BN.",
        "v1, v5", "figure 3",
        against("banana-paper", ACCURACY, lr=AUTHORS),
        against("banana", ACCURACY)
        + against("banana", ACCURACY, lr=0.1, explains=True)
        + against("banana", ACCURACY, lr=0.01, explains=True),
        "The classes overlap, so all methods come close to the best possible accuracy, and 200 "
        "test points resolve differences of 2 % at best. In the paper's test all seeds share the "
        "same 200, so its interval says nothing about other points.",
        (("banana-paper", "regions"),),
    ),
    "regression": Claim(
        "GmP is better on UCI regression",
        "GmP generalizes better than SP, WN and BN in regression of tables by one hidden layer.",
        "v1, v5", "table 1",
        against("uci-paper", RMSE, lr=AUTHORS),
        against("uci", RMSE)
        + against("uci", RMSE, lr=0.1, explains=True)
        + against("uci", RMSE, lr=0.01, explains=True),
        "What decides is the geometric mean over the sets; each set alone is a control, and the "
        "tables of the experiments have medians and the share of stuck runs beside means. Under "
        "the authors' terms the stopping rule can end a run before a small rate has left a "
        "plateau: a mean over such stuck runs measures the rule. The row naval measures the "
        "schedule: its squared errors lie far below the rule's threshold of 1e-4, so the rate is "
        "divided by ten every 50 epochs. Where one batch makes an epoch, as on boston, concrete, "
        "energy and yacht, the running statistics of BN lag behind its weights, and the lag adds "
        "to its error.",
        (("uci-paper", "ratios"),),
    ),
    "vgg-speed": Claim(
        "GmP+IMN trains a VGG-6 in fewer epochs",
        "A VGG-6 under GmP with input mean normalization converges in fewer epochs than under SP, "
        "WN and BN.",
        "v1, v5", "figure 4",
        against("vgg-paper", EPOCHS_TO_LEVEL, method="GmP+IMN"),
        at_each_rate("vgg", EPOCHS_TO_LEVEL),
        EQUAL_RATES + SMALL_NETWORK + "The level, four times chance, was fixed beforehand. "
        "A run that never reaches it counts as one epoch more than there are: an effect of 1 can "
        "mean that neither did. These intervals are over seeds alone, not over pictures. In the "
        "authors' code the methods start at different scales.",
    ),
    "vgg": Claim(
        "GmP+IMN makes a VGG-6 more accurate",
        "A VGG-6 under GmP with input mean normalization generalizes better than under SP, WN and "
        "BN.",
        "v1, v5", "table 2",
        against("vgg-paper", TOP1, method="GmP+IMN"),
        at_each_rate("vgg", TOP1),
        EQUAL_RATES + SMALL_NETWORK + "Batch normalization also regularizes by its noise, "
        "which a small set rewards.",
        (("vgg-paper", "curves_64"), *((f"vgg-{lr:g}", "curves_64") for lr in SAME_LRS)),
    ),
    "resnet": Claim(
        "GmP+IMN makes a ResNet more accurate",
        "A ResNet under GmP with input mean normalization generalizes better than under BN and "
        "WN+MBN.",
        "v1 (ResNet-50), v5 (ResNet-18)", "table 3",
        against("resnet-paper", TOP1, ("BN", "WN+MBN"), "GmP+IMN"),
        at_each_rate("resnet", TOP1, ("BN", "WN+MBN")),
        EQUAL_RATES + SMALL_NETWORK + "The authors' code has a ResNet-34.",
        (("resnet-paper", "curves"), *((f"resnet-{lr:g}", "curves") for lr in SAME_LRS)),
    ),
    "rates": Claim(
        "GmP allows larger learning rates",
        "GmP allows larger learning rates than SP, WN and BN.",
        "v1", "abstract",
        against("levy-paper", RMSE, lr=0.3) + against("levy-paper", RMSE, lr=1.0),
        against("levy", RMSE)
        + against("levy", RMSE, lr=0.3, explains=True)
        + against("levy", RMSE, lr=1.0, explains=True),
        OUR_TESTS + "Each rate is trained to the end by the full schedule, which lowers it. As the "
        "paper says it: the test error at 0.3 and 1 under every method. On equal terms: what the "
        "best rate of each method gives in the end. Those are the comparisons of the Levy "
        "function once more, with the chosen rates beside them.",
    ),
    "initializers": Claim(
        "GmP allows careless initialization",
        "GmP trains from carelessly chosen initial weights where SP, WN and BN do not.",
        "v1", "abstract",
        tuple(c for start in CARELESS for c in against(f"levy-paper-{start}", RMSE)),
        tuple(c for start in CARELESS for c in against(f"levy-{start}", RMSE)),
        OUR_TESTS + "Three starts: only the hidden weights drawn with scale 0.001 or 10, or all "
        "weights with scale 0.001; each method at the better rate of 0.01 and 0.1 on validation "
        "data. Directions and offsets under GmP do not depend on the scale, but radius and output "
        "layer do.",
    ),
}  # fmt: skip

SLIPS = (  # where, what the authors' code does, what that changes, and whether it is done here
    ("figure 1", "takes θ from arccos(w₁/‖w‖), which drops the sign of w₂",
     "A boundary with w₂ < 0 is drawn as its mirror image, and a turn across the axis looks "
     "smaller than it is.", "never: turns are angles between directions"),
    ("figure 3", "draws the boundaries of WN with the output layer's bias as the offset of all "
     "units", "The WN panel shows boundaries that the network does not have. Accuracies are not "
     "affected.", "never"),
    ("inverse map", "takes √(xₙ²) in the last angle", "Half of all directions come back mirrored, "
     "so a GmP network made from given weights is another function. One that draws its own "
     "weights starts equally well.", "never"),
    ("BN, WN+MBN", "has a bias before the mean is subtracted", "It cancels and gets no gradient: "
     "only the count of parameters is larger. WN+MBN is left without any bias, so its boundaries "
     "pass through the mean of the batch.", "as the paper tests it"),
    ("convolutions", "takes O as the fan-out of GmP and WN, and 9·O for SP and BN (Keras)",
     "The methods start at different scales: after six layers, activations of 0.005 under SP and "
     "0.08 under GmP.", "as the paper tests it"),
    ("residual networks", "has r inside the ReLU, ReLU(r (u·x + λ))", "The same function while "
     "r > 0. For r < 0 the unit is active on the other half-space, where ours is negated.",
     "never"),
    ("training", "restores the best weights only if the early stop was reached (Keras 2.8), and "
     "for ImageNet not at all", "Runs that last to the end report their last weights.",
     "as the paper tests it"),
)  # fmt: skip
