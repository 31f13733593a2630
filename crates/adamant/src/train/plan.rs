//! The recipe as meant: every value checked once, each in the type of what it is for.
//!
//! Begin with [`Plan::new`]. Nothing after it asks whether a setting makes sense.

use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use super::sections::{
    ActivationKind, CoinScopeKind, DomainKind, ForwardKind, FromEpoch, FrozenStatistics, GoalKind,
    InputScaling as ScalingKind, LearningRateScaling, NormKind, ObjectiveKind, ScheduleKind,
    StartKind, StepRule, WeightingKind,
};
use crate::attack::{self, AttackDefaults, Pgd, PgdSettings};
use crate::data::{Augment, Flip, LastBatch, LoaderSettings, Order, Source};
use crate::objective::{
    AdversarialOnly, LabelSmoothing, LogitPairing, Mixture, Objective, Standard, Weighting,
};
use crate::optimizer::{Momentum, SgdSettings};
use crate::schedule::{Decay, Schedule, WarmUp, linear_scaling};
use crate::stream::{Key, Purpose, Stream};
use crate::threat::{
    CoinScope, Epsilon, Goal, Range, Start, StepSize, TargetRule, ThreatModel, check_unit,
};
use network::architecture::InputScaling;
use network::{
    Activation, Architecture, Domain, Network, NetworkError, NormChoice, Shape, Sharing, Statistics,
};

/// An experiment as meant.
pub struct Plan {
    /// Where the images come from.
    pub source: Source,
    /// How many training images are held out.
    pub validation: usize,
    /// How training images become batches.
    pub loader: LoaderSettings,
    /// The network but for input shape and classes, which the data decides.
    pub architecture: Architecture,
    /// What training lowers.
    pub objective: Box<dyn Objective>,
    /// The adversary in training.
    pub attack: Pgd,
    /// What the network does while it is attacked.
    pub crafting: Crafting,
    /// Whether clean and adversarial images share one forward.
    pub forward: ForwardKind,
    /// The branches that training shows images to, the one whose robustness counts last.
    pub branches: Vec<Domain>,
    /// How parameters move.
    pub optimizer: SgdSettings,
    /// The learning rate but for the steps in an epoch, which the data decides.
    pub schedule: Schedule,
    /// When training turns to running statistics, and what they then do.
    pub consistent: Option<ConsistentPhase>,
    /// Passes over the training images.
    pub epochs: u32,
    /// Seed of all randomness.
    pub seed: u64,
    /// When checkpoints are written.
    pub checkpoints: CheckpointPlan,
    /// How the run is judged.
    pub evaluation: EvaluationPlan,
}

/// How a run is judged.
pub struct EvaluationPlan {
    /// Name of the attack under which the best model is chosen; `clean` for none.
    pub select_by: String,
    /// Epochs between validations.
    pub every_epochs: u32,
    /// What the names of attacks leave open.
    pub defaults: AttackDefaults,
    /// Names of the attacks on the test images.
    pub attacks: Vec<String>,
    /// Test images judged; none for all.
    pub samples: Option<usize>,
}

/// What the network does while it is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crafting {
    /// Which statistics normalise (T1).
    pub statistics: Statistics,
    /// Which branch is attacked (T6).
    pub domain: Domain,
}

/// Consistent batch norm: training and testing compute the same function in the last epochs.
///
/// Source: Xie & Yuille 2020; whether statistics keep moving is not said there, so both are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistentPhase {
    /// First epoch of the phase, counted from 0.
    pub from_epoch: u32,
    /// What running statistics do in it.
    pub statistics: FrozenStatistics,
}

/// When checkpoints are written; always at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPlan {
    /// Steps between checkpoints within an epoch; 0 for none.
    pub every_steps: u64,
    /// How many stay.
    pub keep: usize,
}

impl Plan {
    /// Checks a recipe and says what it means.
    ///
    /// Errors: a value out of its range or values that contradict each other, naming origin, key, found and allowed.
    pub fn new(recipe: &Recipe) -> Result<Self, RecipeError> {
        let data = &recipe.data;
        let training = &recipe.training;
        let source = Source::parse(&data.source).map_err(|e| recipe.refusal("data.source", &e))?;
        require(data.validation > 0, recipe, "data.validation", "at least 1 held-out image")?;
        require(training.epochs > 0, recipe, "training.epochs", "at least 1")?;
        require(training.batch_size > 0, recipe, "training.batch_size", "at least 1")?;
        require(training.keep_checkpoints > 0, recipe, "training.keep_checkpoints", "at least 1")?;
        let flip = if data.flip { Flip::Horizontal } else { Flip::Never };
        Ok(Self {
            source,
            validation: data.validation,
            loader: LoaderSettings {
                batch_size: training.batch_size,
                seed: training.seed,
                order: Order::Shuffled,
                last: LastBatch::Drop,
                augment: Augment { pad: small(recipe, "data.pad", data.pad)?, flip },
            },
            architecture: architecture(recipe)?,
            objective: objective(recipe)?,
            attack: adversary(recipe)?,
            crafting: Crafting {
                statistics: recipe.attack.crafting_statistics,
                domain: match recipe.attack.crafting_domain {
                    DomainKind::Clean => Domain::CLEAN,
                    DomainKind::Adversarial => Domain::ADVERSARIAL,
                },
            },
            forward: recipe.objective.forward,
            branches: branches(recipe),
            optimizer: optimizer(recipe)?,
            schedule: schedule(recipe)?,
            consistent: consistent(recipe)?,
            epochs: small(recipe, "training.epochs", training.epochs)?,
            seed: training.seed,
            checkpoints: CheckpointPlan {
                every_steps: training.checkpoint_every_steps,
                keep: training.keep_checkpoints,
            },
            evaluation: evaluation(recipe)?,
        })
    }

    /// The initial network for images of a shape and a number of classes.
    ///
    /// Errors: a shape the architecture cannot take.
    pub fn network(&self, input: Shape, classes: usize) -> Result<Network, NetworkError> {
        let graph = Architecture { input, classes, ..self.architecture.clone() }.graph()?;
        let stream = Stream::new(self.seed);
        let mut normals = |tensor: u32, values: &mut [f32]| {
            let key = Key { purpose: Purpose::Initialize, time: 0, index: tensor, restart: 0 };
            let mut draws = stream.draws(key);
            values.fill_with(|| draws.normal());
        };
        Network::initialized(graph, &mut normals)
    }

    /// The learning rate by step, for epochs of so many steps.
    pub fn schedule(&self, steps_per_epoch: u32) -> Schedule {
        Schedule { steps_per_epoch: u64::from(steps_per_epoch), ..self.schedule.clone() }
    }

    /// The branch whose robustness counts: the adversarial one wherever training shows it images.
    pub fn judged_branch(&self) -> Domain {
        *self.branches.last().expect("every objective shows images to a branch")
    }

    /// The consistent phase, if `epoch` lies in it.
    pub fn consistent_in(&self, epoch: u32) -> Option<ConsistentPhase> {
        self.consistent.filter(|phase| epoch >= phase.from_epoch)
    }
}

fn architecture(recipe: &Recipe) -> Result<Architecture, RecipeError> {
    let section = &recipe.network;
    let refuse = |e: NetworkError| recipe.refusal("network.architecture", &e);
    let mut architecture = Architecture::named(&section.architecture).map_err(refuse)?;
    if section.width > 0 {
        architecture.width = section.width;
    }
    architecture.norm = match section.norm {
        NormKind::Batch => NormChoice::Batch {
            domains: 1,
            statistics: Sharing::Shared,
            affine: Sharing::Shared,
            running_variance: section.running_variance,
        },
        NormKind::Mixture => NormChoice::Batch {
            domains: 2,
            statistics: section.statistics,
            affine: section.affine,
            running_variance: section.running_variance,
        },
        NormKind::Group => NormChoice::Group { groups: section.groups },
        NormKind::Instance => NormChoice::Instance,
        NormKind::None => NormChoice::None,
    };
    architecture.activation = match section.activation {
        ActivationKind::Relu => Activation::Relu,
        ActivationKind::Silu => Activation::Silu,
        ActivationKind::SmoothRelu => {
            let beta = section.activation_beta;
            let holds = beta.is_finite() && beta > 0.0;
            require(holds, recipe, "network.activation_beta", "a number above 0")?;
            Activation::SmoothRelu { beta: beta as f32 }
        }
        ActivationKind::Gelu => Activation::Gelu,
        ActivationKind::Elu => Activation::Elu,
    };
    architecture.scaling = match section.input_scaling {
        ScalingKind::None => InputScaling::None,
        ScalingKind::Symmetric => InputScaling::Symmetric,
        ScalingKind::MeanStd => {
            let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let positive = !section.input_std.is_empty()
                && section.input_std.iter().all(|&std| std.is_finite() && std > 0.0);
            require(positive, recipe, "network.input_std", "one number above 0 per channel")?;
            let same = section.input_mean.len() == section.input_std.len();
            require(same, recipe, "network.input_mean", "as many numbers as network.input_std")?;
            InputScaling::MeanStd {
                mean: single(&section.input_mean),
                std: single(&section.input_std),
            }
        }
    };
    // Groups that do not divide, widths that cannot be built: refused before any data is read.
    architecture.graph().map_err(refuse)?;
    Ok(architecture)
}

fn objective(recipe: &Recipe) -> Result<Box<dyn Objective>, RecipeError> {
    let section = &recipe.objective;
    let smoothing = LabelSmoothing::new(section.label_smoothing)
        .map_err(|e| recipe.refusal("objective.label_smoothing", &e))?;
    let weighting = match section.weighting {
        WeightingKind::PerImage => Weighting::ByPresence,
        WeightingKind::Alpha => Weighting::Fixed(section.alpha),
    };
    let share = |value: f64| (0.0..=1.0).contains(&value);
    require(share(section.alpha), recipe, "objective.alpha", "a share in [0, 1]")?;
    let mixture = Mixture::new(section.clean_fraction, weighting, smoothing)
        .map_err(|e| recipe.refusal("objective.clean_fraction", &e))?;
    let pairing = section.logit_pairing;
    let weight = pairing.is_finite() && pairing >= 0.0;
    require(weight, recipe, "objective.logit_pairing", "a weight that is not negative")?;
    let paired = section.kind == ObjectiveKind::Mixture;
    if pairing != 0.0 && !paired {
        let hint = "pairs of logits exist only with objective.kind = \"mixture\"";
        return Err(recipe.value_error("objective.logit_pairing", "0", Some(hint)));
    }
    Ok(match section.kind {
        ObjectiveKind::Standard => Box::new(Standard { smoothing }),
        ObjectiveKind::AdversarialOnly => Box::new(AdversarialOnly { smoothing }),
        ObjectiveKind::Mixture if pairing == 0.0 => Box::new(mixture),
        ObjectiveKind::Mixture => {
            let objective = LogitPairing::new(mixture, pairing);
            Box::new(objective.map_err(|e| recipe.refusal("objective.logit_pairing", &e))?)
        }
    })
}

fn threat(recipe: &Recipe) -> Result<ThreatModel, RecipeError> {
    let epsilon: Result<Epsilon, _> = recipe.attack.epsilon.parse();
    epsilon
        .and_then(|epsilon| ThreatModel::new(recipe.attack.norm, epsilon))
        .map_err(|e| recipe.refusal("attack.epsilon", &e))
}

fn adversary(recipe: &Recipe) -> Result<Pgd, RecipeError> {
    let section = &recipe.attack;
    let step = length(recipe, "attack.step_size", &section.step_size)?;
    let scope = match section.coin_scope {
        CoinScopeKind::PerBatch => CoinScope::PerBatch,
        CoinScopeKind::PerImage => CoinScope::PerImage,
    };
    let probability = section.clean_start_probability;
    let holds = (0.0..=1.0).contains(&probability);
    require(holds, recipe, "attack.clean_start_probability", "a probability in [0, 1]")?;
    require(section.restarts > 0, recipe, "attack.restarts", "at least 1")?;
    if section.restarts > 1 && section.start == StartKind::Clean {
        let hint = "without a random start all restarts are equal";
        return Err(recipe.value_error("attack.restarts", "1", Some(hint)));
    }
    let settings = PgdSettings {
        threat: threat(recipe)?,
        goal: match section.goal {
            GoalKind::Untargeted => Goal::Untargeted,
            GoalKind::TargetedUniformOther => Goal::Targeted(TargetRule::UniformOther),
            GoalKind::TargetedLeastLikely => Goal::Targeted(TargetRule::LeastLikely),
            GoalKind::TargetedNext => Goal::Targeted(TargetRule::Next),
        },
        steps: section.steps,
        step_size: match section.step_rule {
            StepRule::Fixed => StepSize::Fixed(step),
            StepRule::AtLeastEpsilonOverSteps => StepSize::AtLeastEpsilonOverSteps(step),
        },
        start: match section.start {
            StartKind::Clean => Start::Clean,
            StartKind::Uniform => Start::Uniform,
            StartKind::CleanWithProbability => Start::CleanWithProbability { probability, scope },
        },
        start_range: if section.clip_start { Range::Pixels } else { Range::Unlimited },
        restarts: section.restarts,
    };
    Pgd::new(settings).map_err(|e| recipe.refusal("attack.steps", &e))
}

fn length(recipe: &Recipe, key: &'static str, written: &str) -> Result<Epsilon, RecipeError> {
    let parsed: Result<Epsilon, _> = written.parse();
    parsed
        .and_then(|step| check_unit("epsilon", recipe.attack.norm, &step).map(|()| step))
        .map_err(|e| recipe.refusal(key, &e))
}

fn branches(recipe: &Recipe) -> Vec<Domain> {
    let one_branch = recipe.network.norm != NormKind::Mixture;
    match recipe.objective.kind {
        ObjectiveKind::Standard => vec![Domain::CLEAN],
        ObjectiveKind::Mixture if recipe.objective.clean_fraction > 0.0 && !one_branch => {
            vec![Domain::CLEAN, Domain::ADVERSARIAL]
        }
        ObjectiveKind::Mixture | ObjectiveKind::AdversarialOnly => vec![Domain::ADVERSARIAL],
    }
}

fn optimizer(recipe: &Recipe) -> Result<SgdSettings, RecipeError> {
    let section = &recipe.optimizer;
    let momentum = (0.0..1.0).contains(&section.momentum);
    require(momentum, recipe, "optimizer.momentum", "a share in [0, 1)")?;
    let decay = section.weight_decay.is_finite() && section.weight_decay >= 0.0;
    require(decay, recipe, "optimizer.weight_decay", "a number that is not negative")?;
    let kind = if section.nesterov { Momentum::Nesterov } else { Momentum::Heavy };
    let weight_decay = section.weight_decay as f32;
    Ok(SgdSettings { momentum: section.momentum as f32, kind, weight_decay })
}

fn schedule(recipe: &Recipe) -> Result<Schedule, RecipeError> {
    let section = &recipe.schedule;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let rate = recipe.optimizer.learning_rate;
    require(positive(rate), recipe, "optimizer.learning_rate", "a number above 0")?;
    require(positive(section.factor), recipe, "schedule.factor", "a number above 0")?;
    let epochs = recipe.training.epochs as f64;
    let warm = section.warmup_epochs;
    let fits = (0.0..epochs).contains(&warm);
    require(fits, recipe, "schedule.warmup_epochs", "fewer epochs than training.epochs")?;
    let from = section.warmup_from;
    let holds = from.is_finite() && from >= 0.0;
    require(holds, recipe, "schedule.warmup_from", "a number that is not negative")?;
    let rising = section.milestones.is_sorted() && section.milestones.iter().all(|&m| positive(m));
    require(rising, recipe, "schedule.milestones", "epochs above 0 in rising order")?;
    let base = match recipe.optimizer.learning_rate_scaling {
        LearningRateScaling::None => rate,
        LearningRateScaling::Linear => linear_scaling(rate, recipe.training.batch_size),
    };
    Ok(Schedule {
        base,
        warm_up: match warm {
            0.0 => WarmUp::None,
            epochs => WarmUp::Linear { from, epochs },
        },
        decay: match section.kind {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Milestones => {
                Decay::Milestones { after: section.milestones.clone(), factor: section.factor }
            }
            ScheduleKind::Cosine => Decay::Cosine,
        },
        steps_per_epoch: 1,
        epochs,
    })
}

fn evaluation(recipe: &Recipe) -> Result<EvaluationPlan, RecipeError> {
    let section = &recipe.evaluation;
    let every = section.every_epochs;
    require(every > 0, recipe, "evaluation.every_epochs", "at least 1")?;
    let mut defaults = AttackDefaults::new(threat(recipe)?);
    if section.step_size != "auto" {
        let step = length(recipe, "evaluation.step_size", &section.step_size)?;
        defaults.step_size = Some(StepSize::AtLeastEpsilonOverSteps(step));
    }
    let known = |key: &str, name: &str| match attack::parse(name, &defaults) {
        Ok(_) => Ok(()),
        Err(error) => Err(recipe.refusal(key, &error)),
    };
    known("evaluation.select_by", &section.select_by)?;
    for name in &section.attacks {
        known("evaluation.attacks", name)?;
    }
    Ok(EvaluationPlan {
        select_by: section.select_by.clone(),
        every_epochs: small(recipe, "evaluation.every_epochs", every)?,
        attacks: section.attacks.clone(),
        samples: (section.samples > 0).then_some(section.samples),
        defaults,
    })
}

fn consistent(recipe: &Recipe) -> Result<Option<ConsistentPhase>, RecipeError> {
    let FromEpoch::Epoch(epoch) = recipe.training.freeze_statistics_from_epoch else {
        return Ok(None);
    };
    let key = "training.freeze_statistics_from_epoch";
    let has_statistics = matches!(recipe.network.norm, NormKind::Batch | NormKind::Mixture);
    if !has_statistics {
        let hint = "network.norm has no running statistics";
        return Err(recipe.value_error(key, "\"never\"", Some(hint)));
    }
    let from_epoch = small(recipe, key, epoch)?;
    Ok(Some(ConsistentPhase { from_epoch, statistics: recipe.training.frozen_statistics }))
}

fn require(holds: bool, recipe: &Recipe, key: &str, expected: &str) -> Result<(), RecipeError> {
    if holds { Ok(()) } else { Err(recipe.value_error(key, expected, None)) }
}

fn small(recipe: &Recipe, key: &str, value: usize) -> Result<u32, RecipeError> {
    u32::try_from(value).map_err(|_| recipe.value_error(key, "at most 4294967295", None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn plan(text: &str) -> Result<Plan, String> {
        Recipe::parse(text, Path::new("recipes/some.toml"), &[])
            .and_then(|recipe| Plan::new(&recipe))
            .map_err(|error| error.to_string())
    }

    fn refusal(text: &str) -> String {
        plan(text).err().unwrap_or_else(|| panic!("{text} was accepted"))
    }

    #[test]
    fn a_bare_8_is_refused_with_the_hint() {
        for written in ["8", "\"8\"", "8.0"] {
            let number = written.trim_matches('"').trim_end_matches(".0");
            assert_eq!(
                refusal(&format!("[attack]\nepsilon = {written}")),
                format!(
                    "recipes/some.toml: attack.epsilon is {number}, above 1\n  \
                     hint: pixels are in [0, 1]; write \"{number}/255\""
                )
            );
        }
    }

    #[test]
    fn values_out_of_range_name_file_key_found_and_allowed() {
        for (text, expected) in [
            ("[training]\nbatch_size = 0", "training.batch_size is 0, expected at least 1"),
            ("[objective]\nalpha = 2.0", "objective.alpha is 2.0, expected a share in [0, 1]"),
            (
                "[optimizer]\nmomentum = 1.0",
                "optimizer.momentum is 1.0, expected a share in [0, 1)",
            ),
            (
                "[optimizer]\nlearning_rate = nan",
                "optimizer.learning_rate is nan, expected a number above 0",
            ),
            (
                "[schedule]\nmilestones = [3, 2]",
                "schedule.milestones is [3.0, 2.0], expected epochs above 0 in rising order",
            ),
            (
                "[attack]\nrestarts = 2\nstart = \"clean\"",
                "attack.restarts is 2, expected 1\n  hint: without a random start all restarts are equal",
            ),
        ] {
            assert_eq!(refusal(text), format!("recipes/some.toml: {expected}"));
        }
    }

    #[test]
    fn names_that_do_not_exist_list_those_that_do() {
        let message = refusal("[data]\nsource = \"fashion\"");
        assert!(
            message.starts_with("recipes/some.toml: data.source: ") && message.contains("cifar10")
        );
        let message = refusal("[network]\narchitecture = \"resnet9\"");
        assert!(
            message.contains("network.architecture") && message.contains("wrn-D-K"),
            "{message}"
        );
        let message = refusal("[evaluation]\nattacks = [\"pgd\"]");
        assert!(message.contains("evaluation.attacks") && message.contains("fgsm"), "{message}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let message = refusal("[objective]\nkind = \"standard\"\nlogit_pairing = 0.5");
        assert!(message.contains("objective.logit_pairing is 0.5, expected 0"), "{message}");
        let message = refusal(
            "[network]\nnorm = \"group\"\ngroups = 8\n[training]\nfreeze_statistics_from_epoch = 3",
        );
        assert!(message.contains("no running statistics"), "{message}");
        let message = refusal("[network]\nnorm = \"group\"\ngroups = 7");
        assert!(message.contains("groups"), "{message}");
    }

    #[test]
    fn g27_the_papers_recipe_has_the_papers_learning_rates() {
        let recipe = crate::train::builtin::recipe("paper_r152", &[]).unwrap();
        let schedule = Plan::new(&recipe).unwrap().schedule(313);
        let at = |epoch: u64| schedule.learning_rate(epoch * 313);
        assert_eq!([at(0), at(5), at(34)], [0.1, 1.6, 1.6]);
        for (epoch, rate) in [(35, 0.16), (70, 0.016), (95, 0.0016), (109, 0.0016)] {
            assert!((at(epoch) / rate - 1.0).abs() < 1e-6, "epoch {epoch}: {}", at(epoch));
        }
    }

    #[test]
    fn the_branch_that_is_judged_is_one_that_training_shows_images_to() {
        let judged = |text: &str| plan(text).unwrap().judged_branch();
        assert_eq!(judged("[objective]\nkind = \"standard\""), Domain::CLEAN);
        assert_eq!(judged("[objective]\nkind = \"adversarial-only\""), Domain::ADVERSARIAL);
        assert_eq!(judged(""), Domain::ADVERSARIAL);
        assert_eq!(plan("").unwrap().branches, [Domain::CLEAN, Domain::ADVERSARIAL]);
        assert_eq!(plan("[network]\nnorm = \"batch\"").unwrap().branches, [Domain::ADVERSARIAL]);
    }
}
