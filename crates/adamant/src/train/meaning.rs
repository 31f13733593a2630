//! What each section of a recipe means: one function a section, each value in the type of what it is for.

use super::plan::{ConsistentPhase, EvaluationPlan};
use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use super::sections::{
    ActivationKind, BatchMoments, CoinScopeKind, FromEpoch, GoalKind, InputScaling as ScalingKind,
    LearningRateScaling, NormKind, ObjectiveKind, ScheduleKind, StartKind, StepRule, WeightingKind,
};
use crate::attack::{self, AttackDefaults, Pgd, PgdSettings};
use crate::objective::{
    AdversarialOnly, LabelSmoothing, LogitPairing, Mixture, Objective, Standard, Weighting,
};
use crate::optimizer::{Momentum, SgdSettings};
use crate::schedule::{Decay, Schedule, WarmUp, linear_scaling};
use crate::threat::{
    CoinScope, Epsilon, Goal, Range, Start, StepSize, TargetRule, ThreatModel, check_unit,
};
use network::architecture::InputScaling;
use network::{Activation, Architecture, Domain, NetworkError, NormChoice, Sharing};
use std::time::Duration;

pub(super) fn architecture(recipe: &Recipe) -> Result<Architecture, RecipeError> {
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
            // The data decides the input; until then the scaling says how many channels are meant.
            architecture.input.channels = section.input_std.len();
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

pub(super) fn objective(recipe: &Recipe) -> Result<Box<dyn Objective>, RecipeError> {
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

pub(super) fn adversary(recipe: &Recipe) -> Result<Pgd, RecipeError> {
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
        .and_then(|step| check_unit("step size", recipe.attack.norm, &step).map(|()| step))
        .map_err(|e| recipe.refusal(key, &e))
}

pub(super) fn branches(recipe: &Recipe) -> Vec<Domain> {
    let one_branch = recipe.network.norm != NormKind::Mixture;
    match recipe.objective.kind {
        ObjectiveKind::Standard => vec![Domain::CLEAN],
        ObjectiveKind::Mixture if recipe.objective.clean_fraction > 0.0 && !one_branch => {
            vec![Domain::CLEAN, Domain::ADVERSARIAL]
        }
        ObjectiveKind::Mixture | ObjectiveKind::AdversarialOnly => vec![Domain::ADVERSARIAL],
    }
}

pub(super) fn optimizer(recipe: &Recipe) -> Result<SgdSettings, RecipeError> {
    let section = &recipe.optimizer;
    let momentum = (0.0..1.0).contains(&section.momentum);
    require(momentum, recipe, "optimizer.momentum", "a share in [0, 1)")?;
    let decay = section.weight_decay.is_finite() && section.weight_decay >= 0.0;
    require(decay, recipe, "optimizer.weight_decay", "a number that is not negative")?;
    let kind = if section.nesterov { Momentum::Nesterov } else { Momentum::Heavy };
    let weight_decay = section.weight_decay as f32;
    let learns = recipe.training.learns;
    Ok(SgdSettings { momentum: section.momentum as f32, kind, weight_decay, learns })
}

pub(super) fn schedule(recipe: &Recipe) -> Result<Schedule, RecipeError> {
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

pub(super) fn evaluation(recipe: &Recipe) -> Result<EvaluationPlan, RecipeError> {
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
        every_steps: (section.every_steps > 0).then_some(section.every_steps),
        on_overfitting: section.on_overfitting,
        attacks: section.attacks.clone(),
        samples: (section.samples > 0).then_some(section.samples),
        defaults,
    })
}

pub(super) fn consistent(recipe: &Recipe) -> Result<Option<ConsistentPhase>, RecipeError> {
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

/// Whose statistics normalise.
pub(super) fn moments(recipe: &Recipe) -> Result<BatchMoments, RecipeError> {
    let found = recipe.training.batch_moments;
    let crafts_with_batch = recipe.attack.crafting_statistics == network::Statistics::Batch;
    if found == BatchMoments::Synchronised && crafts_with_batch {
        let hint = "synchronised batch norm attacks with running statistics: an attack on a worker's own batch would meet \
                    another network than training; or training.batch_moments = \"local\"";
        let key = "attack.crafting_statistics";
        return Err(recipe.value_error(key, "\"running\"", Some(hint)));
    }
    Ok(found)
}

/// Time between checkpoints.
pub(super) fn minutes(recipe: &Recipe) -> Result<Option<Duration>, RecipeError> {
    let minutes = recipe.training.checkpoint_every_minutes;
    // A thousand years: more is no time that a run could wait for.
    let holds = (0.0..5e8).contains(&minutes);
    require(holds, recipe, "training.checkpoint_every_minutes", "minutes from 0")?;
    Ok((minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes)))
}

/// The loss that counts as exploded, as a multiple of that of guessing.
pub(super) fn loss_limit(recipe: &Recipe) -> Result<Option<f64>, RecipeError> {
    let limit = recipe.training.loss_limit;
    let holds = limit == 0.0 || (limit.is_finite() && limit > 1.0);
    require(holds, recipe, "training.loss_limit", "a number above 1, or 0 for no limit")?;
    Ok((limit > 0.0).then_some(limit))
}

pub(super) fn require(
    holds: bool,
    recipe: &Recipe,
    key: &str,
    expected: &str,
) -> Result<(), RecipeError> {
    if holds { Ok(()) } else { Err(recipe.value_error(key, expected, None)) }
}

pub(super) fn small(recipe: &Recipe, key: &str, value: usize) -> Result<u32, RecipeError> {
    u32::try_from(value).map_err(|_| recipe.value_error(key, "at most 4294967295", None))
}
