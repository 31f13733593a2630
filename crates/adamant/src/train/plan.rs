//! The recipe as meant: every value checked once, each in the type of what it is for.
//!
//! Begin with [`Plan::new`]. Nothing after it asks whether a setting makes sense.

use super::buckets::Overlap;
use super::data_section;
use super::meaning::{
    adversary, architecture, branches, consistent, evaluation, loss_limit, minutes, moments,
    objective, optimizer, require, schedule, small,
};
use super::precision::PrecisionKind;
use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use super::sections::{
    BatchMoments, DomainKind, ForwardKind, FrozenStatistics, OnNonFinite, OnOverfitting, WireKind,
};
use crate::attack::{AttackDefaults, Pgd};
use crate::data::{
    DataError, Dataset, Framing, LastBatch, LoaderSettings, Part, SearchPath, Source,
};
use crate::objective::{Objective, StepDraw};
use crate::optimizer::SgdSettings;
use crate::schedule::Schedule;
use crate::stream::{Key, Purpose, Stream};
use collective::Wire;
use network::{Architecture, Domain, Network, NetworkError, Shape, Statistics};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// An experiment as meant.
pub struct Plan {
    /// Where the images come from.
    pub source: Source,
    /// What becomes of a picture when nothing is drawn.
    pub framing: Framing,
    /// How many training images are held out.
    pub validation: usize,
    /// How many of the others are learned from; none for all.
    pub images: Option<NonZeroUsize>,
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
    /// How many workers share a batch.
    pub workers: usize,
    /// Whose images the batch statistics of a training forward are of.
    pub moments: BatchMoments,
    /// How gradients travel between ranks.
    pub wire: Wire,
    /// When gradients travel between ranks, and how many together.
    pub overlap: Overlap,
    /// Seed of all randomness.
    pub seed: u64,
    /// A model whose parameters the run begins with.
    pub begin_with: Option<PathBuf>,
    /// Arithmetic of attack and training pass.
    pub precision: PrecisionKind,
    /// When checkpoints are written.
    pub checkpoints: CheckpointPlan,
    /// What follows a step whose numbers went wrong.
    pub on_nonfinite: OnNonFinite,
    /// A loss that many times that of guessing has exploded.
    pub loss_limit: Option<f64>,
    /// How the run is judged.
    pub evaluation: EvaluationPlan,
}

/// How a run is judged.
pub struct EvaluationPlan {
    /// Name of the attack under which the best model is chosen; `clean` for none.
    pub select_by: String,
    /// Epochs between validations.
    pub every_epochs: u32,
    /// Steps between validations within an epoch.
    pub every_steps: Option<u64>,
    /// What follows an alarm.
    pub on_overfitting: OnOverfitting,
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
    /// Time after which one is due, wherever in an epoch.
    pub every: Option<Duration>,
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
        let is_dealt = training.workers <= training.batch_size;
        require(is_dealt, recipe, "training.workers", "at most training.batch_size")?;
        require(training.bucket_mib > 0, recipe, "training.bucket_mib", "at least 1")?;
        require(training.keep_checkpoints > 0, recipe, "training.keep_checkpoints", "at least 1")?;
        Ok(Self {
            source,
            framing: data_section::framing(recipe)?,
            validation: data.validation,
            images: NonZeroUsize::new(data.images),
            loader: LoaderSettings {
                batch_size: training.batch_size,
                seed: training.seed,
                order: data_section::order(recipe),
                last: LastBatch::Drop,
                augment: data_section::augment(recipe)?,
                on_corrupt: data.on_corrupt,
                prefetch: data_section::prefetch(recipe)?,
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
            workers: training.workers.max(1),
            moments: moments(recipe)?,
            wire: match training.wire {
                WireKind::F32 => Wire::F32,
                WireKind::Bf16 => Wire::Bf16,
            },
            overlap: Overlap {
                kind: training.overlap,
                bucket_bytes: training.bucket_mib.saturating_mul(1 << 20),
            },
            seed: training.seed,
            begin_with: (!training.begin_with.is_empty()).then(|| (&training.begin_with).into()),
            precision: training.precision,
            checkpoints: CheckpointPlan {
                every_steps: training.checkpoint_every_steps,
                every: minutes(recipe)?,
                keep: training.keep_checkpoints,
            },
            on_nonfinite: training.on_nonfinite,
            loss_limit: loss_limit(recipe)?,
            evaluation: evaluation(recipe)?,
        })
    }

    /// One part of the images, framed as the recipe says.
    ///
    /// Errors: as [`Source::load_framed`].
    pub fn load(&self, part: Part, search: &SearchPath) -> Result<Dataset, DataError> {
        self.source.load_framed(part, search, self.framing)
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

    /// Whether training shows the network adversarial images at all.
    pub fn shows_adversarial_images(&self) -> bool {
        let draw = StepDraw { stream: Stream::new(self.seed), step: 0, rank: 0 };
        !self.objective.demand(self.loader.batch_size, &draw).adversarial.is_empty()
    }

    /// Whether several workers normalise by the statistics of all their images.
    pub fn shares_moments(&self) -> bool {
        self.moments == BatchMoments::Synchronised && self.workers > 1
    }

    /// The consistent phase, if `epoch` lies in it.
    pub fn consistent_in(&self, epoch: u32) -> Option<ConsistentPhase> {
        self.consistent.filter(|phase| epoch >= phase.from_epoch)
    }
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
            (
                "[training]\ncheckpoint_every_minutes = -1.0",
                "training.checkpoint_every_minutes is -1.0, expected minutes from 0",
            ),
            (
                "[training]\nloss_limit = 0.5",
                "training.loss_limit is 0.5, expected a number above 1, or 0 for no limit",
            ),
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
